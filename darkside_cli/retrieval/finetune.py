"""A fine-tuning from its configuration: training with mining, then whitening, then evaluation, in one run folder.

Each of the three goes on where it was stopped, also by SIGKILL, and ends as if it had not been. The run folder holds
the descriptor (``descriptor.safetensors``), its whitening beside it, descriptors of the whitening's images and of the
test sets, and the scores (``evaluation.json``).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.compat.whitening import read_whitening
from darkside_cli.config.paths import DataRoot
from darkside_cli.engine.distributed import Ranks
from darkside_cli.engine.trainer import Trainer, TrainingResult
from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import Emit, Event, Notice, TrainingStarted, ignore
from darkside_cli.models.architectures import ARCHITECTURES
from darkside_cli.models.backbones import smallest_side_px
from darkside_cli.models.retrieval_net import RetrievalNet
from darkside_cli.models.weights import save_checkpoint
from darkside_cli.models.whitening import save_whitening
from darkside_cli.retrieval.benchmark import score
from darkside_cli.retrieval.config import CHANGEABLE, FinetuneConfig
from darkside_cli.retrieval.describer import Describer
from darkside_cli.retrieval.evaluate import (
    Benchmark,
    ScoreLine,
    describe_benchmark,
    score_lines,
    without_broken_queries,
)
from darkside_cli.retrieval.finetune_data import (
    FinetuneSets,
    file_digest,
    is_published,
    night_of,
    open_sets,
)
from darkside_cli.retrieval.image_jobs import ExtractOptions
from darkside_cli.retrieval.load import load_descriptor, parse_scales
from darkside_cli.retrieval.night import NightMaker
from darkside_cli.retrieval.task import NETWORK, DescriptorTask, TupleBatch, clahe_settings
from darkside_cli.retrieval.tuple_data import ImageRows, TupleData, validation_tuples
from darkside_cli.retrieval.tuple_images import TupleImages
from darkside_cli.retrieval.whiten import in_words, learn, source_from_model

DESCRIPTOR_FILE = f"{NETWORK}.safetensors"
WHITENING_FILE = f"{NETWORK}_whitening.safetensors"
SCORES_FILE = "evaluation.json"
#: Folder of what a stage has done so far; removed when it is over.
_STAGES = "stages"
_MADE_FOR = "made_for"


@dataclass(frozen=True)
class FinetuneRun:
    """A fine-tuning that is ready to begin. All processes train; whitening and evaluation are the first one's."""

    config: FinetuneConfig
    task: DescriptorTask
    data: TupleData
    trainer: Trainer[TupleBatch]
    run: Path
    root: DataRoot
    sets: FinetuneSets
    device: torch.device
    ranks: Ranks = field(default_factory=Ranks)

    def train(self, *, resume: bool = True) -> TrainingResult:
        """Train until the configured number of epochs is done, going on from where an earlier run stopped."""
        return self.trainer.fit(resume=resume)

    @property
    def descriptor(self) -> Path:
        """File of the trained network."""
        return self.run / DESCRIPTOR_FILE

    def whiten(self, *, emit: Emit = ignore) -> Path | None:
        """Learn the whitening of the trained network, unless that is done; its file, None if none is wanted.

        Raises UsageError if what it is to be learned from cannot be learned from.
        """
        options, path = self.config.whitening, self.run / WHITENING_FILE
        if options.kind == "none":
            _remove_own(path)
            return None
        tuples = self.sets.whitening
        if tuples is None:
            raise UsageError(
                "there is nothing to learn a whitening from", hint="name it with whitening.database"
            )
        made_for = {
            "descriptor": file_digest(self.descriptor),
            "tuples": tuples.describe()["fingerprint"],
            "settings": {key: str(value) for key, value in asdict(options).items()},
        }
        if _made_for(path) == made_for:
            self._tidy("whitening")
            return path
        describer = self._describer(options.scales, whiten=False)
        read = self._read(options.image_size_px, upright=self.sets.whitening_upright)
        keep = self._kept("whitening", tuples.name, describer, read)
        source = source_from_model(describer, tuples, options=read, keep=keep, emit=emit)
        whitening = learn(source, method=options.kind, shrink=options.shrink, emit=emit)
        emit(Notice(in_words(whitening)))
        # The model is called by its file's name: the same run in another place gives the same bytes.
        descriptors = {**whitening.metadata["descriptors"], "model": DESCRIPTOR_FILE}
        metadata = {**whitening.metadata, "descriptors": descriptors, _MADE_FOR: made_for}
        save_whitening(path, replace(whitening, metadata=metadata))
        self._tidy("whitening")
        return path

    def evaluate(self, *, emit: Emit = ignore) -> list[ScoreLine]:
        """Score the finished descriptor on the test sets; what was scored before is not scored again.

        The scores are written to the run folder.
        """
        options, path = self.config.evaluation, self.run / SCORES_FILE
        whitening = self.run / WHITENING_FILE
        whiten = self.config.whitening.kind != "none"
        made_for = {
            "descriptor": file_digest(self.descriptor),
            "whitening": file_digest(whitening) if whiten and whitening.is_file() else None,
            "settings": {"image_size_px": options.image_size_px, "scales": options.scales},
        }
        known = _json(path)
        done: dict[str, Any] = known.get("sets", {}) if known.get(_MADE_FOR) == made_for else {}
        lines: list[ScoreLine] = []
        if not self.sets.benchmarks:
            emit(Notice("there is no test set to evaluate on: name one with --dataset, or download tokyo247"))
        for name, benchmark in self.sets.benchmarks.items():
            if name not in done:
                done[name] = self._score(name, benchmark, whiten=whiten, emit=emit)
                document = {_MADE_FOR: made_for, "sets": done}
                write_bytes_atomic(path, json.dumps(document, indent=1, allow_nan=False).encode(), sync=True)
            lines += [replace(_line(each), model=self.run.name) for each in done[name]["lines"]]
        self._tidy("evaluation")
        return lines

    def _score(self, name: str, benchmark: Benchmark, *, whiten: bool, emit: Emit) -> dict[str, Any]:
        options = self.config.evaluation
        describer = self._describer(options.scales, whiten=whiten)
        read = self._read(options.image_size_px, upright=benchmark.upright)
        keep = self._kept("evaluation", name, describer, read)
        rows = describe_benchmark(benchmark.truth, describer, options=read, keep=keep, emit=emit)
        truth, rows = without_broken_queries(benchmark.truth, rows)
        result = score(rows.database, rows.queries, truth, device=self.device)
        # By the file's name, as in the whitening; whoever reads them knows which run it is.
        lines = score_lines(NETWORK, result, entry=benchmark.entry, published=None)
        return {"lines": [asdict(line) for line in lines], "document": result.to_document()}

    def _describer(self, scales: str, *, whiten: bool) -> Describer:
        describer = load_descriptor(
            self.descriptor,
            root=self.root,
            device=str(self.device),
            precision=self.config.trainer.precision,
            scales=parse_scales(scales),
            whiten=whiten,
        )
        describer.name = self.run.name
        return describer

    def _read(self, size_px: int, *, upright: bool) -> ExtractOptions:
        workers = self.data.workers
        # One image at a time on the CPU: which images share a batch, and with it the last bits of their descriptors,
        # would otherwise depend on where an earlier process was stopped.
        batch = 1 if self.device.type == "cpu" else 0
        return ExtractOptions(
            image_size_px=size_px, upright=upright, batch_size=batch, workers=workers, overwrite=False
        )

    def _kept(self, stage: str, name: str, describer: Describer, read: ExtractOptions) -> Path:
        """File that a stage keeps its descriptors in until it is done: another one for whatever makes them differ."""
        stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(name).name)
        what = (describer.fingerprint, describer.precision, read.image_size_px, read.upright)
        tag = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
        return self.run / _STAGES / stage / f"{stem}-{tag}.h5"

    def _tidy(self, stage: str) -> None:
        shutil.rmtree(self.run / _STAGES / stage, ignore_errors=True)
        with suppress(OSError):  # another stage's is there
            (self.run / _STAGES).rmdir()


def prepare_finetune(
    config: FinetuneConfig,
    *,
    run: Path,
    root: DataRoot,
    network: RetrievalNet,
    generators: Sequence[NightMaker] = (),
    device: torch.device,
    ranks: Ranks | None = None,
    resolved: Mapping[str, Any] | None = None,
    emit: Emit = ignore,
) -> FinetuneRun:
    """Open the data sets, put ``network`` and what is mined together, ready to be trained in the folder ``run``.

    ``network`` is what training begins with (:func:`darkside_cli.retrieval.initial.initial_network`); ``generators``
    make night where ``config.augment.kind`` is "generator". ``resolved`` is the whole configuration as it is stored
    with checkpoints. All that will be needed is looked for now, not after days of training.

    Raises MissingAssetError where data is not on this machine, UsageError where it cannot be learned from.
    """
    ranks = ranks or Ranks()
    if ranks.size > 1 and not config.freeze_norms:
        raise UsageError(
            "batch norms that learn statistics need one process", hint="leave freeze_norms on, or --nproc out"
        )
    sets = open_sets(config, root, emit=emit)
    night = night_of(config, generators, root, emit=emit)
    network_config = network.config
    images = TupleImages(
        sets.training,
        size_px=config.data.image_size_px,
        upright=not is_published(config.data.spec),
        night=night,
        share=config.augment.share,
        clahe=clahe_settings(config),
        mean=network_config.mean,
        std=network_config.std,
        cache_bytes=config.data.cache_mb << 20,
        smallest_px=smallest_side_px(network_config.backbone),
    )
    facts = {
        "night": None if night is None else night.fingerprint,
        "tuples": sets.training.describe(),
        "validation": None if sets.validation is None else sets.validation.describe(),
    }
    task = DescriptorTask(
        config, network, device=device, facts={"backbone": network_config.backbone, **facts}
    )
    workers = sets.workers
    together = None if device.type == "cpu" else 32
    rows = ImageRows(images, task.describe, workers=workers, together=together, emit=emit)
    data = TupleData(
        rows,
        config.mining,
        seed=config.trainer.seed,
        batch_size=config.data.batch_size,
        ranks=ranks,
        workers=workers,
        prefetch=config.data.prefetch,
        device=device,
        emit=emit,
    )
    task.mining = data
    if sets.validation is not None and config.trainer.validate_every:
        held_out = ImageRows(
            images.of(sets.validation), task.describe, workers=workers, together=together, emit=emit
        )

        def validation_loss() -> float:
            found = validation_tuples(held_out, config.validation_mining, device=device, emit=emit)
            return float(task.losses(*found).mean())

        task.validator = validation_loss
    trainer: Trainer[TupleBatch] = Trainer(
        task,
        data,
        config.trainer,
        run=run,
        device=device,
        ranks=ranks,
        resolved={**(resolved or {"trainer": asdict(config.trainer)}), **facts},
        changeable=CHANGEABLE,
        save_network=save_network,
        batch_size=config.data.batch_size * ranks.size,
        emit=_forgetting(run, emit),
    )
    return FinetuneRun(config, task, data, trainer, run, root, sets, device, ranks)


def _forgetting(run: Path, emit: Emit) -> Emit:
    """Hand events on; when training goes on, the whitening of the network as it was is removed."""

    def forward(event: Event) -> None:
        if isinstance(event, TrainingStarted) and event.epoch < event.epochs:
            _remove_own(run / WHITENING_FILE)
        emit(event)

    return forward


def save_network(path: Path, name: str, module: torch.nn.Module, metadata: Mapping[str, Any]) -> None:
    """Write the descriptor as a checkpoint of ours: weights, configuration, ``metadata``."""
    save_checkpoint(
        path,
        module,
        architecture=ARCHITECTURES.get("retrieval_net").name,
        config=module.config,
        metadata={"network": name, **metadata},
    )


def _remove_own(path: Path) -> None:
    """Remove a whitening that this run has learned; others, which somebody put there, stay."""
    if _made_for(path) is not None:
        path.unlink(missing_ok=True)


def _made_for(path: Path) -> Any:
    """What the whitening in a file was made for; None if there is none, or it is another one."""
    if not path.is_file():
        return None
    try:
        return read_whitening(path).metadata.get(_MADE_FOR)
    except DarksideError:
        return None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _line(values: Mapping[str, Any]) -> ScoreLine:
    return ScoreLine(
        **{**values, "precisions": tuple(values["precisions"]), "recalls": tuple(values["recalls"])}
    )
