"""Where each translation is written: never over a photograph, never two to one file, always the same way."""

from __future__ import annotations

import os
import secrets
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from darkside_cli.atomic import TEMPORARY_PREFIX
from darkside_cli.errors import UsageError
from darkside_cli.images.formats import IMAGE_SUFFIXES, format_of_path, suffix_of_format

#: Extension of the results of images whose own format is not written.
DEFAULT_SUFFIX = ".png"


@dataclass(frozen=True)
class InputImage:
    """An image to translate. ``relative`` is its place in the output tree; it never leads out of it."""

    path: Path
    relative: PurePath


@dataclass(frozen=True)
class TranslationJob:
    """One file to read and the one to write; ``instead_of`` is the target it would have had without other inputs.

    ``content`` is what the source holds where that is no file, such as an image on standard input.
    """

    source: Path
    target: Path
    instead_of: Path | None = None
    content: bytes | None = field(default=None, repr=False)


class Locations:
    """Where paths really are, with the folders' links resolved once each, and which of them are one file."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}
        self._spellings: dict[str, str] = {}
        self._systems: dict[str, tuple[bool, bool]] = {}

    def of_folder(self, folder: str | os.PathLike[str]) -> str:
        """``folder`` without links, ``.`` and ``..``; it need not exist."""
        name = os.fspath(folder)
        if name not in self._folders:
            self._folders[name] = os.path.realpath(name)
        return self._folders[name]

    def of_name(self, path: Path) -> str:
        """Place of the directory entry ``path``: links in its folder are resolved, it itself may be one."""
        if path.name in ("", ".."):
            return self.of_folder(path)
        return os.path.join(self.of_folder(path.parent), path.name)  # noqa: PTH118 - a string is wanted

    def of_entry_and_file(self, path: Path) -> set[str]:
        """Places that writing to or reading from ``path`` can concern: the entry, and what it links to."""
        name = self.of_name(path)
        return {name, os.path.realpath(name)} if os.path.islink(name) else {name}  # noqa: PTH114

    def key(self, place: str) -> tuple[bool, str]:
        """Equal for places that the file system they are on takes for the same file, existing or not.

        Only spellings that differ by case or Unicode form need the file system; it is then tried out.
        """
        folded = _fold(place, case=True, form=True)
        first = self._spellings.setdefault(folded, place)
        if first == place:
            return False, folded
        case, form = self._system_of(place)
        same = _fold(place, case=case, form=form)
        return (False, folded) if same == _fold(first, case=case, form=form) else (True, same)

    def _system_of(self, place: str) -> tuple[bool, bool]:
        folder = os.path.dirname(place)  # noqa: PTH120 - a string is wanted
        while not os.path.isdir(folder) and folder != os.path.dirname(folder):  # noqa: PTH112, PTH120
            folder = os.path.dirname(folder)  # noqa: PTH120
        if folder not in self._systems:
            self._systems[folder] = tried_out(folder)
        return self._systems[folder]


def tried_out(folder: str) -> tuple[bool, bool]:
    """Whether the file system of ``folder`` takes names for equal that differ by case, and by Unicode form.

    A hidden file is made and removed to find out. Where that is not possible, both are taken to be so: the names
    made then fit every file system.
    """
    name = f"{TEMPORARY_PREFIX}{os.getpid()}-{secrets.token_hex(6)}-\u00e9"
    try:
        os.close(os.open(os.path.join(folder, name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))  # noqa: PTH118
        try:
            others = (
                name.replace(TEMPORARY_PREFIX, TEMPORARY_PREFIX.upper()),
                unicodedata.normalize("NFD", name),
            )
            case, form = (os.path.lexists(os.path.join(folder, other)) for other in others)  # noqa: PTH118
        finally:
            os.unlink(os.path.join(folder, name))  # noqa: PTH108, PTH118
    except (OSError, UnicodeError):
        return True, True
    return case, form


def plan_outputs(
    inputs: Iterable[InputImage],
    *,
    out_dir: Path | None,
    suffix: str,
    format: str | None,
    drop_results: bool = False,
) -> list[TranslationJob]:
    """Decide which file each input's translation goes to, in the order of ``inputs``.

    The target is ``relative`` under ``out_dir``, or beside the source where ``out_dir`` is None. ``suffix``
    is appended to the name before its extension. The extension is that of ``format`` ("jpg", "png"...), else
    the source's own, upper or lower case as it is, if its format can be written; ".png" replaces that of
    other images and is appended to names without one.

    Names that differ only by case or Unicode form stay as they are where the file system keeps them apart. Inputs
    that would share a target are told by ``instead_of`` (:func:`changed_names`): those of different extensions keep
    them in the name (a.jpg.png, a.png.png). Of those of one name from different folders one keeps it, and the others
    go into sub-folders called like their own folders (b/a.jpg). Where that is not enough, they get a number: a-2.jpg.

    ``drop_results`` leaves out inputs that are the targets of others that stay in: results of an earlier run
    that a folder or a wildcard brought in. It is for runs that write no file that is there already. Planned
    again after such a run, the jobs are the same, unless results were written without a suffix into an input
    folder.

    Raises UsageError if a target is its own source or (without
    ``drop_results``) another input, or if there is neither ``out_dir`` nor ``suffix``; UnknownNameError for a
    format that cannot be written.
    """
    if any(sep in suffix for sep in (os.sep, os.altsep, "\0") if sep):
        raise UsageError(
            f"the suffix '{suffix}' cannot be part of a file name", hint="name folders with --output"
        )
    if out_dir is None and not suffix:
        raise UsageError("results beside their sources need a suffix", hint="give --suffix or --output")
    extension = suffix_of_format(format) if format is not None else None
    locations = Locations()
    kept = list(inputs)
    while True:
        jobs = _name_targets(kept, out_dir, suffix, extension, locations)
        results = _results_among_sources(jobs, locations, allowed=drop_results)
        if not results:
            return jobs
        # Only those of the shortest names at once: leaving one out can change the targets of inputs of its
        # name, and with them what else is a result. Beside their sources, targets have longer names than
        # those, so what has been decided on shorter ones stays right.
        length = {i: len(_split(kept[i].path.name, None)[0]) for i in results}
        shortest = min(length.values())
        dropped = {i for i in results if length[i] == shortest}
        kept = [image for i, image in enumerate(kept) if i not in dropped]


def plan_file(image: InputImage, target: Path) -> TranslationJob:
    """Plan the translation of one image into the file ``target``.

    Raises UsageError if that is the image itself.
    """
    locations = Locations()
    sources = {locations.key(place) for place in locations.of_entry_and_file(image.path)}
    if any(locations.key(place) in sources for place in locations.of_entry_and_file(target)):
        raise UsageError(f"the translation of {image.path} would overwrite it", hint="give another --output")
    return TranslationJob(image.path, target)


def _name_targets(
    inputs: Sequence[InputImage],
    out_dir: Path | None,
    suffix: str,
    extension: str | None,
    locations: Locations,
) -> list[TranslationJob]:
    folders = [image.path.parent if out_dir is None else out_dir / image.relative.parent for image in inputs]
    names = [
        _split(image.path.name if out_dir is None else image.relative.name, extension) for image in inputs
    ]
    plain = [folder / f"{stem}{suffix}{new}" for folder, (stem, _, new) in zip(folders, names, strict=True)]
    targets = list(plain)
    for group in _shared(targets, locations):
        if len({names[i][1].casefold() for i in group}) > 1:
            for i in group:
                stem, old, new = names[i]
                targets[i] = folders[i] / f"{stem}{suffix}{old}{new}"
    taken = {locations.key(locations.of_name(target)) for target in targets}
    for group in _shared(targets, locations):
        # In the order of the sources' names, so that a second run does the same; those of the working folder first.
        keeper, *others = sorted(
            group, key=lambda i: (inputs[i].path != Path(inputs[i].relative), os.fsencode(inputs[i].path))
        )
        for i in others:
            targets[i] = _free(targets[i], inputs[i].path, inputs[keeper].path, taken, locations)
            taken.add(locations.key(locations.of_name(targets[i])))
    return [
        TranslationJob(image.path, target, None if target == alone else alone)
        for image, target, alone in zip(inputs, targets, plain, strict=True)
    ]


def _free(
    target: Path, source: Path, other: Path, taken: set[tuple[bool, str]], locations: Locations
) -> Path:
    """Find another place for ``source``, whose ``target`` goes to ``other``."""
    folder = locations.of_folder(source.parent)
    if folder != locations.of_folder(other.parent) and (name := PurePath(folder).name):
        target = target.parent / name / target.name
    free, number = target, 2
    while locations.key(locations.of_name(free)) in taken:
        free = target.with_name(f"{target.stem}-{number}{target.suffix}")
        number += 1
    return free


def changed_names(jobs: Sequence[TranslationJob], *, most: int = 5) -> list[str]:
    """Say in a line each which targets are not what they would be without the other inputs, up to ``most``."""
    changed = [job for job in jobs if job.instead_of is not None]
    lines = [
        f"{job.source} is written to {job.target}: {job.instead_of} would be another image's too"
        for job in changed[:most]
    ]
    if len(changed) > most:
        lines.append(f"and so are {len(changed) - most} more (--verbose shows where)")
    return lines


def _split(name: str, extension: str | None) -> tuple[str, str, str]:
    """Stem, extension and the extension of the result of ``name``; only an image's counts as one."""
    path = PurePath(name)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return name, "", extension or DEFAULT_SUFFIX
    own = path.suffix if format_of_path(path) is not None else DEFAULT_SUFFIX
    return path.stem, path.suffix, extension or own


def _fold(place: str, *, case: bool, form: bool) -> str:
    """``place`` without regard to case, Unicode form or both."""
    if form:
        place = unicodedata.normalize("NFC", place)
    if case:
        place = place.casefold()
    return unicodedata.normalize("NFC", place) if form else place


def _shared(targets: Sequence[Path], locations: Locations) -> list[list[int]]:
    """Group the indices of targets that are one file."""
    groups: dict[tuple[bool, str], list[int]] = defaultdict(list)
    for i, target in enumerate(targets):
        groups[locations.key(locations.of_name(target))].append(i)
    return [group for group in groups.values() if len(group) > 1]


def _results_among_sources(
    jobs: Sequence[TranslationJob], locations: Locations, *, allowed: bool
) -> set[int]:
    """Find the jobs whose source is the target of another job, by index.

    Raises UsageError if there is one and that is not ``allowed``, or if a job would overwrite its own source.
    """
    owners: dict[tuple[bool, str], int] = {}
    for i, job in enumerate(jobs):
        for place in locations.of_entry_and_file(job.source):
            owners.setdefault(locations.key(place), i)
    results: set[int] = set()
    for i, job in enumerate(jobs):
        for place in locations.of_entry_and_file(job.target):
            owner = owners.get(locations.key(place))
            if owner is None:
                continue
            if owner == i:
                raise UsageError(
                    f"the translation of {job.source} would overwrite it",
                    hint="give another --output, or --suffix",
                )
            if not allowed:
                raise UsageError(
                    f"the translation of {job.source} would overwrite the input {jobs[owner].source}",
                    hint="give another --output or --suffix, or leave earlier results out of the inputs",
                )
            results.add(owner)
    return results
