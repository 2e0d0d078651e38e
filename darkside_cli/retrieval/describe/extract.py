"""Descriptors of many image files: decoded, equalised and described overlapped, in flat memory, resumably.

Finished rows go to a journal (:mod:`darkside_cli.retrieval.describe.journal`) as they come; when all are there, they
are written in the order of the images to one file (:mod:`darkside_cli.retrieval.describe.write`). Several processes
(:mod:`darkside_cli.training.distributed`) share the images: number r of n takes every n-th from the r-th on, and the
first one writes the file for all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from darkside_cli import __version__
from darkside_cli.errors import NoSpaceError, UsageError
from darkside_cli.events import Emit, ItemSkipped, Notice, RunFinished, RunStarted, ignore
from darkside_cli.retrieval.describe.append import called_from, described, with_new_rows
from darkside_cli.retrieval.describe.describer import Describer
from darkside_cli.retrieval.describe.descriptor_file import DescriptorFile
from darkside_cli.retrieval.describe.image_jobs import ExtractOptions, ImageJob, stamp_of
from darkside_cli.retrieval.describe.journal import Journal, remove_journal
from darkside_cli.retrieval.describe.pipeline import Describing, Rows
from darkside_cli.retrieval.describe.store import open_descriptors
from darkside_cli.retrieval.describe.write import check_names, format_of, write_descriptors
from darkside_cli.training.distributed import Ranks

_BLOCK_BYTES = 1 << 24
# What is told of, if it differs, of a file that is there already: what people choose, and what follows from it.
_CHOSEN = ("model", "scales", "image_size", "precision", "whiten", "reduced_to", "clahe", "upright")
_FOLLOWING = ("dim", "transform", "fingerprint")
_FLAGS = {
    **{key: f"--{key.replace('_', '-')}" for key in ("model", "scales", "image_size", "precision", "clahe")},
    "reduced_to": "--dim",
}


@dataclass(frozen=True)
class ExtractSummary:
    """What a run did: images described, failed, and there already; ``path`` is None if nothing was written.

    ``failed`` names the images without a descriptor, of all processes; ``images`` counts the rows of the file.
    """

    path: Path | None
    done: int
    skipped: int
    failed: tuple[str, ...]
    seconds: float
    images: int = 0


def extract_array(
    jobs: Sequence[ImageJob],
    describer: Describer,
    *,
    options: ExtractOptions | None = None,
    keep: Path | None = None,
    label: str | None = None,
    emit: Emit = ignore,
) -> Rows:
    """Describe images into memory: (N, D) float32 in the order of ``jobs``; broken images are rows of NaN.

    A broken image is told of (``ItemFailed``) and the others go on. ``keep`` is a descriptor file that the rows are
    written to, for which names have to differ: a run that was stopped goes on from there, and a second one with the
    same model and settings takes them from it.
    """
    options, label = options or ExtractOptions(), label or describer.name
    rows = np.full((len(jobs), describer.dim), np.nan, dtype=np.float32)
    if keep is not None:
        summary = extract_files(jobs, describer, keep, options=options, label=label, emit=emit)
        if summary.path is not None:
            stored = open_descriptors(summary.path)
            place = {job.name: number for number, job in enumerate(jobs)}
            rows[[place[name] for name in stored.names or ()]] = stored.read()
        return rows
    started = time.perf_counter()
    numbered = [replace(job, name=str(number)) for number, job in enumerate(jobs)]

    def store(job: ImageJob, _: Hashable, row: Rows) -> None:
        rows[int(job.name)] = row

    emit(RunStarted(label, len(numbered)))
    counts = Describing(describer, options, store, lambda _: False, None).run(numbered, emit)
    emit(RunFinished(label, counts.done, counts.failed, 0, time.perf_counter() - started))
    return rows


def extract_files(
    jobs: Iterable[ImageJob],
    describer: Describer,
    target: Path,
    *,
    options: ExtractOptions | None = None,
    metadata: Mapping[str, Any] | None = None,
    format: str | None = None,
    ranks: Ranks | None = None,
    label: str | None = None,
    emit: Emit = ignore,
) -> ExtractSummary:
    """Describe every image and write ``target``, whole or not at all, in the order of ``jobs``.

    A broken image is told of (``ItemFailed``) and the others go on. A run that was stopped, also by SIGKILL, is
    continued by the next one with the same model and settings; with others it starts afresh and says so
    (``Notice``). So is a file that is there already and lacks images. With ``options.append`` a file that is there
    keeps its rows, in their order, and those of further images follow; it is replaced when all are there. Its images
    are called as before, or from the ``image_root`` in ``metadata``: see
    :func:`darkside_cli.retrieval.describe.append.called_from`. Images whose
    files have changed since an interrupted run are described again. ``metadata`` is recorded beside what the model
    says of itself. All ``ranks`` are given the same jobs; each does its share, emits the events of that, and waits for
    the others.

    The bytes of the file follow from the images, the model, the settings and ``metadata`` alone where descriptors do
    (on the CPU, in one number of threads): it does not matter how often a run was stopped.

    Raises UsageError for two images of one name, names that the form cannot hold, and a file that is there but was
    made with another model, other settings or of other images; NoSpaceError if the disk or a limit is too small,
    after which the next run goes on as after any other stop.
    """
    started = time.perf_counter()
    options, ranks, label = options or ExtractOptions(), ranks or Ranks(), label or describer.name
    jobs = list(jobs)
    names = [job.name for job in jobs]
    check_names(names, format_of(target, format))
    record = _record(describer, options, metadata)
    present = None if options.overwrite else _present(target, names, record, append=options.append)
    root = record.get("image_root")
    appended_to = called_from(present, root) if present is not None and options.append else None
    there = set() if appended_to is None else described(appended_to)
    own = jobs[ranks.rank :: ranks.size]
    emit(RunStarted(label, len(own)))
    complete = (
        there.issuperset(names) and appended_to is present
        if appended_to is not None
        else present is not None and present.names == tuple(names) and not present.metadata.get("failed")
    )
    if present is not None and complete:
        for job in own:
            emit(ItemSkipped(job.path, target))
        seconds = time.perf_counter() - started
        emit(RunFinished(label, 0, 0, len(jobs), seconds))
        return ExtractSummary(target, 0, len(jobs), (), seconds, present.count)

    if not options.resume and ranks.is_first:
        remove_journal(target)
    ranks.barrier()
    with Journal(
        target, digest=record["digest"], dim=describer.dim, part=ranks.rank, parts=ranks.size
    ) as journal:
        if ranks.is_first:
            with _nothing_lost():
                _take_in(journal, None if options.append else present, emit)
        ranks.barrier()
        if ranks.size > 1:
            journal.refresh()
        stages = Describing(
            describer,
            options,
            lambda job, stamp, row: journal.append(job.name, stamp, row),
            lambda job: job.name in there or journal.has(job.name, stamp_of(job)),
            target,
        )
        counts = stages.run(own, emit)
        # Not what the journal lacks: it may have the row of an image that has become unreadable since.
        broken = set().union(*ranks.all_gather(stages.without))
        failed = tuple(name for name in names if name in broken)
        written, count = len(failed) < len(names), 0 if appended_to is None else appended_to.count
        if ranks.is_first:
            if ranks.size > 1:
                journal.refresh()
            if written:
                kept = names if options.on_error == "nan" else [name for name in names if name not in broken]
                dim, rows, without = describer.dim, max(1, _BLOCK_BYTES // (4 * describer.dim)), list(failed)
                blocks = journal.read(kept, rows, without=broken)
                # Looked at again: others may have added to it before this run held it.
                old = _present(target, names, record, append=True) if options.append else None
                if old is not None:
                    old = called_from(old, root)
                    if {"image_root"} & {*record, *old.metadata}:
                        record = {**record, "image_root": old.metadata.get("image_root")}
                    kept, blocks, without = with_new_rows(old, journal, kept, failed, rows=rows)
                count = len(kept)
                recorded = {**record, "images": count, "failed": without}
                with _nothing_lost():
                    write_descriptors(target, kept, blocks, dim, metadata=recorded, format=format)
            journal.remove()
        ranks.barrier()
    seconds = time.perf_counter() - started
    emit(RunFinished(label, counts.done, counts.failed, counts.skipped, seconds))
    path = target if written or appended_to is not None else None
    return ExtractSummary(path, counts.done, counts.skipped, failed, seconds, count)


@contextmanager
def _nothing_lost() -> Iterator[None]:
    """Say of a disk that is too small that nothing was lost."""
    try:
        yield
    except NoSpaceError as error:
        hint = "make room and run the same command again: what was described is kept"
        raise NoSpaceError(error.message, hint=hint, why=error.why) from error


def _decisive(describer: Describer, options: ExtractOptions) -> dict[str, Any]:
    return {
        "fingerprint": describer.fingerprint,
        "image_size": options.image_size_px,
        "upright": options.upright,
        "precision": describer.precision,
        "dim": describer.dim,
    }


def settings_digest(describer: Describer, options: ExtractOptions) -> str:
    """Hash of all that a descriptor depends on but for its image: rows of equal digests belong together."""
    return sha256(json.dumps(_decisive(describer, options), sort_keys=True).encode()).hexdigest()


def _record(
    describer: Describer, options: ExtractOptions, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What is recorded with descriptors. ``digest`` is of what they depend on."""
    digest = settings_digest(describer, options)
    made = {"transform": str(describer.transform), "darkside": __version__, "digest": digest}
    return {**describer.metadata, **_decisive(describer, options), **made, **(metadata or {})}


def _present(
    target: Path, names: Sequence[str], record: Mapping[str, Any], *, append: bool = False
) -> DescriptorFile | None:
    """Open the file that is there already; None if there is none.

    Raises UsageError if it is of another model or other settings, or, but for ``append``, of other images.
    """
    if not target.exists():
        return None
    anew = "write to another file" if append else "--overwrite makes it anew; or name another file"
    stored = open_descriptors(target)
    if stored.metadata.get("digest") != record["digest"]:
        reason = "was not made by darkside extract"
        if "digest" in stored.metadata:
            changed = {key for key in (*_CHOSEN, *_FOLLOWING) if stored.metadata.get(key) != record.get(key)}
            told = [
                f"{key} ({_shown(stored.metadata.get(key))}, not {_shown(record.get(key))})"
                for key in _CHOSEN
                if key in changed
            ]
            flags = [_FLAGS[key] for key in _CHOSEN if key in changed and key in _FLAGS]
            anew = f"leave {' and '.join(flags)} out, or {anew}" if append and flags else anew
            told = told or [key for key in _FOLLOWING if key in changed]
            reason = f"was made with another {' and '.join(told)}"
        raise UsageError(f"{target} is there already and {reason}", hint=anew)
    others = set(stored.names or ()) - set(names)
    if append and stored.names is None:
        raise UsageError(f"{target} does not say of which images it is", hint=anew)
    if others and not append:
        raise UsageError(
            f"{target} is there already and holds {len(others)} images that were not asked for now, "
            f"such as {min(others)}",
            hint="--append adds to it; --overwrite makes it anew; or name another file",
        )
    return stored


def _shown(value: Any) -> str:
    """A setting as people write it: scales between commas, CLAHE as CLIP:GRID."""
    if isinstance(value, list):
        return ",".join(f"{each:.4g}" if isinstance(each, float) else str(each) for each in value)
    if isinstance(value, Mapping):
        return ":".join(str(each) for each in value.values())
    return "none" if value is None else str(value)


def _take_in(journal: Journal, present: DescriptorFile | None, emit: Emit) -> None:
    """Say what cannot be used of an earlier run, and take the rows of an unfinished file in."""
    if journal.dropped:
        emit(
            Notice(
                f"{journal.dropped} descriptors of an interrupted run were made with another model or other "
                "settings: starting afresh",
                level="warning",
            )
        )
    if present is None or present.names is None:
        return
    names = iter(present.names)
    for block in present.blocks():
        for row in block:
            name = next(names)
            if name not in journal and np.isfinite(row).all():
                journal.append(name, None, row)
