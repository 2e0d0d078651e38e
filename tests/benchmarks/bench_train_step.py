"""One training step of each method, side by side with the obvious eager fp32 implementation of the same step.

    python tests/benchmarks/bench_train_step.py --methods hedgan hedngan cyclegan cut --size 256 --rounds 5

The obvious step is what one writes first: every network collects parameter gradients in every backward pass, the
teacher is asked for day edges whenever they are needed and with gradients, the student sees the day image once more to
log it, CUT encodes day and generated images anew for each of its terms, Adam loops over tensors. Rounds are
interleaved; printed is the ratio of medians, and what follows from counting the multiply-adds of both (torch's
FlopCounterMode). ``--together N`` also trains both from the same weights for N steps and prints how far their losses
drift apart; with ``--double`` rounding, which adversarial training magnifies, has no part in that. CycleGAN goes
without image pools. Detectors have random weights, which do not matter for time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from darkside_cli.datasets.unpaired import UnpairedBatch
from darkside_cli.inference.device import autocast, pick_device, pick_precision
from darkside_cli.losses.gan import patch_nce_loss
from darkside_cli.methods.catalog import METHODS
from darkside_cli.methods.config import CycleGanConfig
from darkside_cli.methods.task import GanTask
from darkside_cli.networks.edge_detectors import Hed, Rcf
from darkside_cli.registry import resolve

Step = Callable[[UnpairedBatch], float]


def build(method: str, arguments: argparse.Namespace, device: torch.device) -> GanTask:
    config = resolve(METHODS.get(method).config)()
    config = replace(
        config,
        generator=replace(config.generator, ngf=arguments.ngf, n_blocks=arguments.blocks),
        trainer=replace(config.trainer, channels_last=arguments.channels_last),
    )
    if isinstance(config, CycleGanConfig):  # the pool shows discriminators other images, at random
        config = replace(config, pool_size=0)
    torch.manual_seed(0)
    detector = None
    if METHODS.get(method).needs_detector:
        detector = Rcf() if "rcf" in method else Hed()
    task: GanTask = resolve(METHODS.get(method).target).build(config, device=device, edge_detector=detector)
    return task


def ours(task: GanTask, precision: str, device: torch.device) -> Step:
    def step(batch: UnpairedBatch) -> float:
        updates, total = task.train_step(batch), 0.0
        while True:
            with autocast(pick_precision(precision, device), device):
                update = next(updates, None)
            if update is None:
                return total
            update.loss.backward()
            for name in update.optimizers:
                task.optimizers[name].step()
                task.optimizers[name].zero_grad(set_to_none=True)
            total = update.logs["total"].item() if "total" in update.logs else total

    return step


def mse(scores: Tensor, target: float) -> Tensor:
    return F.mse_loss(scores, torch.full_like(scores, target))


def obvious(task: GanTask) -> Step:
    """The same arithmetic, written down as it comes to mind."""
    nets, method = task.networks, task.config.method
    for network in nets.values():
        network.requires_grad_(True)
    adam = {
        name: torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999), foreach=False)
        for name, network in nets.items()
        if name not in task.frozen
    }
    if "edge_student" in nets:
        groups = [dict(each) for each in task.optimizers["edge_student"].param_groups]
        keep = ("params", "lr", "weight_decay")
        groups = [{key: each[key] for key in keep} for each in groups]
        adam["edge_student"] = torch.optim.Adam(groups, betas=(0.9, 0.999), foreach=False)

    def clear() -> None:
        for network in nets.values():
            network.zero_grad()

    def discriminate(name: str, real: Tensor, fake: Tensor) -> Tensor:
        clear()
        loss = (mse(nets[name](real), 0.0) + mse(nets[name](fake.detach()), 1.0)) / 2
        loss.backward()
        adam[name].step()
        return loss.detach()

    def edges(batch: UnpairedBatch) -> float:
        day, night = batch.day, batch.night
        generator, teacher = nets["generator_day2night"], nets["edge_teacher"]
        fake = generator(day)
        judged = discriminate("discriminator_night", night, fake)
        student = nets.get("edge_student")
        if student is not None:
            clear()
            target = teacher.logits(day).detach()
            loss = F.l1_loss(student.logits(day), target) + F.l1_loss(student.logits(fake.detach()), target)
            loss.backward()
            adam["edge_student"].step()
            student(day)  # to log it
        clear()
        seer = teacher if student is None else student
        edge = 5 * F.l1_loss(seer(fake), teacher(day).detach())
        loss = mse(nets["discriminator_night"](fake), 0.0) + edge
        loss.backward()
        adam["generator_day2night"].step()
        return float(loss.detach() + judged)

    def cycles(batch: UnpairedBatch) -> float:
        day, night = batch.day, batch.night
        there, back = nets["generator_day2night"], nets["generator_night2day"]
        fake_night, fake_day = there(day), back(night)
        clear()
        first = mse(nets["discriminator_night"](fake_night), 0.0) + 10 * F.l1_loss(back(fake_night), day)
        second = mse(nets["discriminator_day"](fake_day), 0.0) + 10 * F.l1_loss(there(fake_day), night)
        (first + second).backward()
        adam["generator_day2night"].step()
        adam["generator_night2day"].step()
        total = first.detach() + second.detach()
        total = total + discriminate("discriminator_night", night, fake_night)
        return float(total + discriminate("discriminator_day", day, fake_day))

    def contrast(batch: UnpairedBatch) -> float:
        generator, head = nets["generator_day2night"], nets["patch_head"]
        layers = list(task.config.nce.layers)  # type: ignore[attr-defined]
        fake, same = generator(torch.cat([batch.day, batch.night])).chunk(2)
        judged = discriminate("discriminator_night", batch.night, fake)
        clear()
        terms = []
        for source, made in ((batch.day, fake), (batch.night, same)):
            queries, positions = head(generator.features(made, layers))
            keys, _ = head(generator.features(source, layers), positions=positions)
            losses = [patch_nce_loss(q, k).mean() for q, k in zip(queries, keys, strict=True)]
            terms.append(torch.stack(losses).mean())
        loss = mse(nets["discriminator_night"](fake), 0.0) + (terms[0] + 10 * terms[1]) / 2
        loss.backward()
        adam["generator_day2night"].step()
        adam["patch_head"].step()
        return float(loss.detach() + judged)

    return cycles if method == "cyclegan" else contrast if method == "cut" else edges


def measure(method: str, arguments: argparse.Namespace, device: torch.device) -> None:
    tasks = [build(method, arguments, device) for _ in range(2)]
    tasks[1].networks["generator_day2night"].load_state_dict(
        tasks[0].networks["generator_day2night"].state_dict()
    )
    if arguments.compile:
        for module in tasks[0].compilable():
            module.compile()
    steps = {"darkside": ours(tasks[0], arguments.precision, device), "obvious": obvious(tasks[1])}
    generator = torch.Generator().manual_seed(1)
    shape = (arguments.batch_size, 3, arguments.size, arguments.size)

    def batch() -> UnpairedBatch:
        return UnpairedBatch(*(torch.rand(shape, generator=generator) * 2 - 1 for _ in range(2))).to(device)

    apart = 0.0
    for _ in range(max(1, arguments.together)):
        given = batch()
        one, other = steps["darkside"](given), steps["obvious"](given)
        apart = max(apart, abs(one - other) / max(abs(other), 1e-3))
    products: dict[str, int] = {}
    for name, step in steps.items():
        with FlopCounterMode(display=False) as counter:
            step(given)
        products[name] = counter.get_total_flops()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        given = batch()
        for name, step in steps.items():
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            start = time.perf_counter()
            step(given)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times[name].append(time.perf_counter() - start)
    first, second = (statistics.median(times[name]) for name in ("darkside", "obvious"))
    print(
        f"{method}: {second / first:.2f}x the obvious step ({first:.2f} s against {second:.2f} s a step); the products "
        f"of convolutions and matrices alone allow {products['obvious'] / products['darkside']:.2f}x; losses of "
        f"{max(1, arguments.together)} steps at most {apart:.2g} of their value apart",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--methods", nargs="+", default=METHODS.names())
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--together", type=int, default=1, help="steps that both train for before they are timed"
    )
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--double", action="store_true", help="in float64")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--channels-last", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.double:
        torch.set_default_dtype(torch.float64)
    device = pick_device(arguments.device)
    for method in arguments.methods:
        measure(method, arguments, device)


if __name__ == "__main__":
    main()
