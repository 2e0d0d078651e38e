"""A fine-tuning's stages: training with mining, then whitening, then evaluation, in one run folder.

Each of the three goes on where it was stopped, also by SIGKILL, and ends as if it had not been. The run folder holds
the descriptor (``descriptor.safetensors``), its whitening beside it, descriptors of the whitening's images and of the
test sets, and the scores (``evaluation.json``).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from darkside_cli.assets.ledger import sha256_of
from darkside_cli.atomic import write_bytes_atomic
from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import published_name
from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import Emit, Notice, StageDone, ignore
from darkside_cli.interop.whitening import read_whitening
from darkside_cli.networks.catalog import MODELS
from darkside_cli.networks.model_entry import ModelEntry
from darkside_cli.networks.weights import save_whitening
from darkside_cli.retrieval.config import PUBLISHED_SET, FinetuneConfig
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions
from darkside_cli.retrieval.describe.load import load_descriptor
from darkside_cli.retrieval.describe.scales import parse_scales
from darkside_cli.retrieval.finetune_data import FinetuneSets
from darkside_cli.retrieval.mining.night import NightMaker
from darkside_cli.retrieval.mining.tuple_data import TupleBatch, TupleData
from darkside_cli.retrieval.search.benchmark import Benchmark
from darkside_cli.retrieval.search.evaluate import evaluate_benchmark
from darkside_cli.retrieval.search.score import ScoreLine, score_lines
from darkside_cli.retrieval.task import NETWORK, DescriptorTask
from darkside_cli.retrieval.whitening.whiten import in_words, learn, source_from_model
from darkside_cli.retrieval.whitening_views import source_from_views
from darkside_cli.training.trainer import Trainer, TrainingResult

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
    night: NightMaker | None = None

    def train(self, *, resume: bool = True) -> TrainingResult:
        """Train until the configured number of epochs is done, going on from where an earlier run stopped."""
        return self.trainer.fit(resume=resume)

    @property
    def descriptor(self) -> Path:
        """File of the trained network."""
        return self.run / DESCRIPTOR_FILE

    @property
    def whitening(self) -> Path:
        """File of its whitening."""
        return self.run / WHITENING_FILE

    def whiten(self, *, emit: Emit = ignore) -> Path | None:
        """Learn the whitening of the trained network, unless that is done; its file, None if none is wanted.

        ``StageDone`` tells the end, also where there was nothing to do. Raises UsageError if what it is to be learned
        from cannot be learned from.
        """
        path, wanted = self.whitening, self.config.whitening.kind != "none"
        if wanted:
            self._whiten(path, emit)
            self._tidy("whitening")
        else:
            remove_own_whitening(path)
        emit(StageDone(self.run, "whitening"))
        return path if wanted else None

    def _whiten(self, path: Path, emit: Emit) -> None:
        options, tuples = self.config.whitening, self.sets.whitening
        if tuples is None:
            raise UsageError(
                "there is nothing to learn a whitening from", hint="name it with whitening.database"
            )
        made_for: dict[str, Any] = {
            "descriptor": sha256_of(self.descriptor),
            "tuples": tuples.describe()["fingerprint"],
            "settings": {key: str(value) for key, value in asdict(options).items()},
        }
        seen: tuple[Any, ...] = ()
        if options.views or options.nights:
            fingerprint = self.night.fingerprint if self.night is not None and options.nights else None
            seen = (options.views, options.nights, fingerprint, self.config.trainer.seed)
            made_for["seen"] = list(seen)
        if _made_for(path) == made_for:
            return
        describer = self._describer(options.scales, whiten=False)
        read = self._read(options.image_size_px, upright=self.sets.whitening_upright)
        keep = self._kept("whitening", tuples.name, describer, read, *seen)
        if options.views or options.nights:
            views, nights, night, seed = options.views, options.nights, self.night, self.config.trainer.seed
            source = source_from_views(
                describer, tuples, views=views, nights=nights, night=night, seed=seed,
                options=read, keep=keep, emit=emit,
            )  # fmt: skip
        else:
            source = source_from_model(describer, tuples, options=read, keep=keep, emit=emit)
        whitening = learn(
            source,
            method=options.kind,
            shrink=options.shrink,
            dim=options.dim,
            balance=options.balance,
            emit=emit,
        )
        emit(Notice(in_words(whitening)))
        # The model is called by its file's name: the same run in another place gives the same bytes.
        descriptors = {**whitening.metadata["descriptors"], "model": DESCRIPTOR_FILE}
        metadata = {**whitening.metadata, "descriptors": descriptors, _MADE_FOR: made_for}
        save_whitening(path, replace(whitening, metadata=metadata))

    def evaluate(self, *, emit: Emit = ignore) -> list[ScoreLine]:
        """Score the finished descriptor on the test sets; what was scored before is not scored again.

        The scores are written to the run folder; ``StageDone`` tells of those of each set, and of the end.
        """
        options, path = self.config.evaluation, self.run / SCORES_FILE
        whitening, whiten = self.whitening, self.config.whitening.kind != "none"
        made_for = {
            "descriptor": sha256_of(self.descriptor),
            "whitening": sha256_of(whitening) if whiten and whitening.is_file() else None,
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
                emit(StageDone(self.run, f"evaluation on {name}"))
            lines += [replace(ScoreLine.of(each), model=self.run.name) for each in done[name]["lines"]]
        self._tidy("evaluation")
        emit(StageDone(self.run, "evaluation"))
        return lines

    def _score(self, name: str, benchmark: Benchmark, *, whiten: bool, emit: Emit) -> dict[str, Any]:
        options = self.config.evaluation
        describer = self._describer(options.scales, whiten=whiten)
        read = self._read(options.image_size_px, upright=benchmark.upright)
        keep = self._kept("evaluation", name, describer, read)
        scored = evaluate_benchmark(
            benchmark, describer, options=read, keep=keep, device=self.device, emit=emit
        )
        # By the file's name, as in the whitening; whoever reads them knows which run it is.
        counterpart = published_counterpart(self.config)
        published = counterpart.scores.get(benchmark.entry.name) if counterpart and benchmark.entry else None
        lines = score_lines(NETWORK, scored.result, entry=benchmark.entry, published=published)
        return {
            "lines": [asdict(line) for line in lines],
            "published_model": None if published is None or counterpart is None else counterpart.name,
            "document": scored.result.to_document(),
        }

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
        # One image at a time on the CPU: which images share a batch, and with it the last bits of their descriptors,
        # would otherwise depend on where an earlier process was stopped.
        batch = 1 if self.device.type == "cpu" else 0
        return ExtractOptions(
            image_size_px=size_px,
            upright=upright,
            batch_size=batch,
            workers=self.sets.workers,
            overwrite=False,
        )

    def _kept(self, stage: str, name: str, describer: Describer, read: ExtractOptions, *more: Any) -> Path:
        """File that a stage keeps its descriptors in until it is done: another one for whatever makes them differ."""
        stem = "".join(c if c.isalnum() or c in "-_" else "_" for c in Path(name).name)
        what = (describer.fingerprint, describer.precision, read.image_size_px, read.upright, *more)
        tag = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
        return self.run / _STAGES / stage / f"{stem}-{tag}.h5"

    def _tidy(self, stage: str) -> None:
        shutil.rmtree(self.run / _STAGES / stage, ignore_errors=True)
        with suppress(OSError):  # another stage's is there
            (self.run / _STAGES).rmdir()


def published_counterpart(config: FinetuneConfig) -> ModelEntry | None:
    """The published descriptor that was trained with this backbone, generator and data; None if there is none."""
    augment, data = config.augment, config.data
    published_data = published_name(data.database) == PUBLISHED_SET and data.file is None
    if augment.kind != "generator" or len(augment.models) != 1 or not published_data:
        return None
    name = f"{config.pooling}_{config.backbone}_{augment.models[0]}"
    return MODELS.get(name) if name in MODELS else None


def remove_own_whitening(path: Path) -> None:
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
