"""A benchmark: a ground truth, published or of one's own folders, and the descriptors of its images."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from darkside_cli.config.paths import DataRoot
from darkside_cli.datasets.catalog import TEST_SETS, TestSet, check_test_set
from darkside_cli.datasets.ground_truth import GroundTruth, GroundTruthError, Query
from darkside_cli.datasets.utm import POSITIVE_DIST_M, find_set, ground_truth_of_utm, refuse_half
from darkside_cli.errors import MissingAssetError, UsageError
from darkside_cli.images.formats import is_image_name
from darkside_cli.interop.ground_truth import read_ground_truth
from darkside_cli.retrieval.describe.pipeline import Rows
from darkside_cli.retrieval.describe.tables import finite_rows

_NAMED = 4


@dataclass(frozen=True)
class Benchmark:
    """A ground truth whose images can be found.

    ``entry`` is that of a set known by name. ``upright`` says whether images are turned by their EXIF orientation:
    those of published ground truths are not, as their figures and boxes were made from the pixels as stored.
    ``places`` says that it was made of folders of places, ``truth.within_m`` that it was of images with UTM names.
    """

    truth: GroundTruth
    entry: TestSet | None = None
    upright: bool = True
    places: bool = False


@dataclass(frozen=True)
class BenchmarkRows:
    """Descriptors of a benchmark in the order of its names, (N, D) and (Q, D).

    Rows of broken images are NaN; others' files may have rows of which only some numbers are not finite, and such an
    image has no descriptor either.
    """

    database: Rows
    queries: Rows
    whole: tuple[str, ...] = ()
    """Queries with a box whose row in a file is by their plain name, so that nobody knows what it is of."""
    made_with: str | None = None
    """Model that is recorded with a file."""

    def failed(self, truth: GroundTruth) -> tuple[str, ...]:
        """Names of the images whose rows are not finite, each once."""
        names = [*truth.database, *(query.name for query in truth.queries)]
        tables = map(torch.from_numpy, (self.database, self.queries))
        finite = torch.cat([finite_rows(rows) for rows in tables]).tolist()
        return tuple(dict.fromkeys(name for name, fine in zip(names, finite, strict=True) if not fine))


def open_benchmark(
    spec: str,
    root: DataRoot,
    *,
    images: Path | None = None,
    queries: Sequence[str] = (),
    database: Sequence[str] = (),
    distractor_folders: Sequence[Path] = (),
    within_m: float | None = None,
) -> Benchmark:
    """Find the benchmark ``spec``: a name, a ground truth file (.pkl, .json), or a folder.

    A folder is of the published layout (``gnd_*.pkl`` in it); or it has ``queries`` and ``database`` folders of images
    whose names say where they were taken, of which those within ``within_m`` metres are right (default: 25; see
    :mod:`darkside_cli.datasets.utm`); or it has a folder for each place, with ``queries`` and ``database`` folders in
    it (default: night and day). ``images`` is where the images are, if not where they are expected.

    Raises MissingAssetError when the ground truth is not on this machine, UnknownNameError for a name that is none,
    GroundTruthError for files that are no ground truth.
    """
    check_test_set(spec)
    if spec in TEST_SETS:
        entry = TEST_SETS.get(spec)
        path = entry.ground_truth(root.path)
        if not path.is_file():
            raise MissingAssetError(
                f"the ground truth of {entry.name} is not on this machine ({path})",
                hint=f"darkside download {entry.name}",
            )
        truth = read_ground_truth(path, name=entry.name, images=images or entry.images(root.path))
        return Benchmark(truth, entry, upright=False)
    path = Path(spec).expanduser()
    if path.is_dir():
        published = sorted(path.glob("gnd_*.pkl"))
        if len(published) == 1:
            return Benchmark(read_ground_truth(published[0], images=images), upright=False)
        found = sorted(file.name for kind in ("pkl", "json") for file in path.glob(f"gnd_*.{kind}"))
        if found and not any(entry.is_dir() and not entry.name.startswith(".") for entry in path.iterdir()):
            raise UsageError(
                f"{path} has the ground truths {', '.join(found)}", hint="name one of these files"
            )
        stations = find_set(path, queries=queries, database=database)
        if stations is not None:
            near = POSITIVE_DIST_M if within_m is None else within_m
            return Benchmark(ground_truth_of_utm(stations, queries=queries, database=database, within_m=near))
        refuse_half(path, queries=queries, database=database)
        truth = ground_truth_from_places(
            path,
            queries=queries or ("night",),
            database=database or ("day",),
            distractors=distractor_folders,
        )
        return Benchmark(truth, places=True)
    if not path.is_file():
        raise UsageError(
            f"{path} is neither a file nor a folder", hint="give a ground truth or a folder of places"
        )
    return Benchmark(read_ground_truth(path, images=images), upright=path.suffix.lower() == ".json")


def require_images(benchmark: Benchmark) -> None:
    """Raise MissingAssetError unless at least some of the benchmark's images are where they should be."""
    truth = benchmark.truth
    names = [*truth.database, *(query.name for query in truth.queries)]
    missing = [name for name in names if not truth.image_path(name).is_file()]
    if len(missing) < len(names):
        return  # single ones that are not there are named when it is their turn
    get = (
        f"darkside download {benchmark.entry.name}" if benchmark.entry else "say where they are with --images"
    )
    raise MissingAssetError(f"the images of {truth.name} are not in {truth.image_root}", hint=get)


def ground_truth_from_places(
    root: str | Path,
    *,
    queries: str | Sequence[str] = "night",
    database: str | Sequence[str] = "day",
    distractors: Iterable[str | Path] = (),
    name: str | None = None,
) -> GroundTruth:
    """Ground truth of ``root/<place>/{day,night}/<image>``: night photographs ask for the place by day.

    ``queries`` and ``database`` name the folders of a place that are asked and searched, one or several
    (``("night", "dusk")``). All database images of the query's place are ``ok``; where a folder is both, the query's
    own image is ``junk``. Places without queries, and the images of the ``distractors`` folders (with all that is
    below them), are in the database as wrong answers. Places without database images are in neither.

    Names are relative to the deepest folder that holds ``root`` and all distractors, which is ``image_root``; the
    order is that of the names. Hidden files, and files that are no images by their suffix, are passed over.

    Raises MissingAssetError if a folder does not exist, GroundTruthError if no place has both kinds of images.
    """
    root = Path(root)
    others = [Path(folder) for folder in distractors]
    for folder in (root, *others):
        if not folder.is_dir():
            raise MissingAssetError(f"there is no folder {folder}", hint="check the path")
    asked, searched = ((names,) if isinstance(names, str) else tuple(names) for names in (queries, database))
    top = Path(os.path.commonpath([folder.resolve() for folder in (root, *others)]))

    places = sorted(entry for entry in root.resolve().iterdir() if entry.is_dir() and not _hidden(entry))
    answers = {place: _names([place / folder for folder in searched], top) for place in places}
    wrong = _names([folder.resolve() for folder in others], top)
    in_database = sorted({*wrong, *(image for names in answers.values() for image in names)})
    index_of = {image: index for index, image in enumerate(in_database)}
    entries = []
    for place in places:
        if not answers[place]:
            continue
        for image in _names([place / folder for folder in asked], top):
            groups = {
                "ok": tuple(index_of[answer] for answer in answers[place] if answer != image),
                "junk": (index_of[image],) if image in index_of else (),
            }
            entries.append(Query(image, groups))
    if not any(query.groups["ok"] for query in entries):
        raise _no_places(root, places, asked, searched)
    return GroundTruth(name or root.resolve().name, tuple(in_database), tuple(entries), image_root=top)


def _no_places(
    root: Path, places: Sequence[Path], asked: Sequence[str], searched: Sequence[str]
) -> GroundTruthError:
    """Say what is wrong with a folder that gives no ground truth, and what would be right."""
    right = (
        f"make a folder for each place: {root}/<place>/{asked[0]} with the images that ask for it, "
        f"{root}/<place>/{searched[0]} with those to be found"
    )
    names = [place.name for place in places]
    if any(name in (*asked, *searched) for name in names) and not any(
        (place / name).is_dir() for place in places for name in (*asked, *searched)
    ):
        sides = " and ".join(name for name in names if name in (*asked, *searched))
        return GroundTruthError(f"{sides} in {root} do not say which images show the same place", hint=right)
    if not places and any(is_image_name(entry.name) for entry in root.iterdir() if not _hidden(entry)):
        return GroundTruthError(
            f"{root} has images, but nothing says which of them show the same place", hint=right
        )
    inside = sorted(
        {entry.name for place in places for entry in place.iterdir() if entry.is_dir() and not _hidden(entry)}
        - {*asked, *searched}
    )
    if inside:
        shown = ", ".join(inside[:_NAMED]) + (
            f" and {len(inside) - _NAMED} more" if len(inside) > _NAMED else ""
        )
        right += f"; or name others with --query-folder and --database-folder (there are {shown})"
    return GroundTruthError(
        f"no folder in {root} has images both in {' or '.join(asked)} and in {' or '.join(searched)}",
        hint=right,
    )


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")


def _images_below(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir() if folder.is_dir() else ():
        if _hidden(entry):
            continue
        if entry.is_dir():
            yield from _images_below(entry)
        elif is_image_name(entry.name):
            yield entry


def _names(folders: Iterable[Path], top: Path) -> list[str]:
    """Names of all images below ``folders``, each once."""
    found = (image for folder in folders for image in _images_below(folder))
    return sorted({image.relative_to(top).as_posix() for image in found})
