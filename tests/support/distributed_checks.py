"""What two processes compute together, for tests/training/test_distributed_training.py to hold against one process.

``python distributed_checks.py OUT``, started twice by :func:`darkside_cli.training.launch.launch`, writes
``OUT/<rank>.pt``, trains in ``OUT/two``, telling of that in ``OUT/told <rank>.txt``, and ends in disorder: the second
process leaves with code 7, and the first one writes into ``OUT/end.txt`` what it makes of that.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
import toy_training
from torch import Tensor, nn

from darkside_cli.networks.layers import synchronised_batch_norm
from darkside_cli.training.distributed import LostProcessError, Ranks
from darkside_cli.training.updates import GradientSync

#: Name -> (layer, shape of one batch entry, how many entries the first process has of six, type)
NORMS: dict[str, tuple[nn.Module, tuple[int, ...], int, torch.dtype]] = {
    "2d": (nn.BatchNorm2d(3), (3, 4, 5), 3, torch.float64),
    "uneven": (nn.BatchNorm2d(3), (3, 4, 5), 1, torch.float64),
    "1d flat": (nn.BatchNorm1d(3), (3,), 3, torch.float64),
    "3d": (nn.BatchNorm3d(2), (2, 3, 2, 2), 4, torch.float64),
    "no affine": (nn.BatchNorm2d(3, affine=False), (3, 2, 2), 3, torch.float64),
    "no statistics": (nn.BatchNorm2d(3, track_running_stats=False), (3, 2, 2), 3, torch.float64),
    "plain average": (nn.BatchNorm2d(3, momentum=None), (3, 2, 2), 3, torch.float64),
    "far from zero": (nn.BatchNorm2d(3), (3, 8, 8), 3, torch.float32),
    "half": (nn.BatchNorm2d(3), (3, 4, 5), 3, torch.bfloat16),
}
ENTRIES = 6


def inputs(name: str, step: int) -> Tensor:
    """The whole batch of ``step``, (6, ...)."""
    _, shape, _, kind = NORMS[name]
    generator = torch.Generator().manual_seed(step)
    values = torch.randn((ENTRIES, *shape), generator=generator, dtype=torch.float64)
    return ((values + 100) if name == "far from zero" else values * 2 + 0.5).to(kind)


def norm_results(name: str, part: slice, share: float) -> dict[str, Tensor]:
    """Outputs, gradients and statistics of two training steps and one in eval mode, for ``part`` of the batches."""
    layer, _, _, kind = NORMS[name]
    layer = layer.to(torch.float64 if kind == torch.float64 else torch.float32).train()
    results: dict[str, Tensor] = {}
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, 0.5, 1.5, generator=torch.Generator().manual_seed(9))
    for step in range(2):
        values = inputs(name, step)[part].requires_grad_()
        out = layer(values)
        weights = torch.randn(out.shape[1:], generator=torch.Generator().manual_seed(50), dtype=torch.float64)
        # The mean over all entries, of which the gradients of processes are averaged later.
        ((out.double() * weights).square().sum() * share).backward()
        results[f"out {step}"] = out.detach()
        assert values.grad is not None
        results[f"gradient {step}"] = values.grad
    for key, parameter in layer.named_parameters():
        assert parameter.grad is not None
        results[f"parameter {key}"] = parameter.grad
    results |= {f"state {key}": value for key, value in layer.state_dict().items()}
    results["eval"] = layer.eval()(inputs(name, 3)[part]).detach()
    return results


def norms(ranks: Ranks) -> dict[str, dict[str, Tensor]]:
    """Results of all layers, each process having its part of the batch."""
    found = {}
    for name, (layer, _, first, _) in NORMS.items():
        part = slice(0, first) if ranks.is_first else slice(first, ENTRIES)
        kind = type(layer)
        with synchronised_batch_norm([nn.Sequential(layer)], None, native=False):
            assert type(layer) is not kind
            found[name] = norm_results(name, part, 1.0)
        assert type(layer) is kind
        assert "process_group" not in vars(layer)
    return found


def gradients(ranks: Ranks) -> dict[str, Any]:
    """Means and sums of gradients, some of them missing."""
    found: dict[str, Any] = {}
    for reduction in ("mean", "sum"):
        parameters = [nn.Parameter(torch.zeros(2, 3)) for _ in range(4)]
        parameters[1] = nn.Parameter(torch.zeros(2, 3).to(torch.float64))
        sync = GradientSync(ranks, None, parameters, reduction)  # type: ignore[arg-type]
        parameters[0].grad = torch.full((2, 3), 1.0 + ranks.rank)
        parameters[1].grad = torch.full((3, 2), 10.0 + ranks.rank, dtype=torch.float64).t()  # not contiguous
        if ranks.rank == 1:
            parameters[2].grad = torch.full((2, 3), 8.0)
        flags = sync.all_reduce([*parameters, parameters[0]], flags=1 << ranks.rank)
        found[reduction] = [None if each.grad is None else each.grad.clone() for each in parameters]
        found[f"{reduction} flags"] = flags
    return found


def main() -> None:
    """Compute everything and write it."""
    out = Path(sys.argv[1])
    torch.set_num_threads(1)
    with Ranks.from_environment() as ranks:
        found: dict[str, Any] = {"norms": norms(ranks), "gradients": gradients(ranks)}
        found["all_gather"] = ranks.all_gather(f"from {ranks.rank}")
        found["broadcast"] = ranks.broadcast({"from": ranks.rank})
        found["gather"] = ranks.gather(torch.full((2,), float(ranks.rank)))
        found["scatter"] = ranks.scatter(["first", "second"] if ranks.is_first else None)
        network = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)).to(memory_format=torch.channels_last)
        network.register_buffer("mask", torch.tensor([ranks.is_first, True, False]))
        with torch.no_grad():
            for value in (*network.parameters(), *network.buffers()):
                if value.dtype != torch.bool:
                    value.fill_(5 + ranks.rank)
        GradientSync(ranks, None, [], "mean").broadcast([network])
        found["copied"] = network.state_dict()
        torch.save(found, out / f"{ranks.rank}.pt")
        with (out / f"told {ranks.rank}.txt").open("w", encoding="utf-8") as told, redirect_stdout(told):
            toy_training.train(toy_training.parse([str(out / "two"), "--exact", "--batch", "2"]), ranks)
        if ranks.rank == 1:
            sys.exit(7)
        try:
            ranks.barrier()
        except LostProcessError as error:
            (out / "end.txt").write_text(f"{error.exit_code} {error.message}", encoding="utf-8")


if __name__ == "__main__":
    main()
