"""What a run left, written once more where gandtr's users look for it and in the formats that its code reads.

gandtr keeps a run's networks in ``epochs``: each as ``<name>_best.pth``, and ``net_best.pth``, which is the network
itself where there is one, and else says which there are. Its ``Checkpoints`` loads a folder by that file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from darkside_cli.atomic import temporary_beside
from darkside_cli.errors import CheckpointError
from darkside_cli.interop.gandtr import is_expressible, save_gandtr, save_gandtr_set
from darkside_cli.interop.load import open_checkpoint
from darkside_cli.interop.whitening import read_whitening, write_published_whitening

#: Our outputs by the names of the reference's networks: ``epochs/<name>_best.pth``.
NETWORKS = {
    "generator_day2night": "generator_X",
    "generator_night2day": "generator_Y",
    "descriptor": "embed",
}
WHITENING, PUBLISHED_WHITENING = "descriptor_whitening.safetensors", "whitening/lw-retrieval.pkl"
_FOLDER, _SET = "epochs", "net"


def write_gandtr_layout(run: Path) -> list[Path]:
    """Write the networks of a run folder as ``epochs/…_best.pth``, its whitening as ``whitening/lw-retrieval.pkl``.

    Besides the results these are the discriminators and edge detectors of the newest checkpoint, as far as gandtr
    has such networks, and ``epochs/net_best.pth``, by which gandtr loads the folder.

    Returns the paths written; what the run does not have is left out. Raises CheckpointError for a result that gandtr
    cannot express (another backbone than its own, say) or if a file cannot be written.
    """
    written: list[Path] = []
    names: list[str] = []
    for ours, theirs in NETWORKS.items():
        source = run / f"{ours}.safetensors"
        if source.is_file():
            written.append(save_gandtr(_best(run, theirs), open_checkpoint(source)))
            names.append(theirs)
    for theirs, source, frozen in _others(run) if names else ():
        checkpoint = open_checkpoint(source)
        if is_expressible(checkpoint.architecture):
            with suppress(
                CheckpointError
            ):  # a form that gandtr does not have: the results are there without it
                written.append(save_gandtr(_best(run, theirs), checkpoint, frozen=frozen))
                names.append(theirs)
    if len(names) == 1:
        written.append(_same_as(written[0], _best(run, _SET)))
    elif names:
        written.append(save_gandtr_set(_best(run, _SET), names))
    if (run / WHITENING).is_file():
        target = run / PUBLISHED_WHITENING
        target.parent.mkdir(parents=True, exist_ok=True)
        written.append(write_published_whitening(target, read_whitening(run / WHITENING)))
    return written


def _best(run: Path, name: str) -> Path:
    return run / _FOLDER / f"{name}_best.pth"


def _others(run: Path) -> Iterator[tuple[str, Path, bool]]:
    """Networks that are no results: gandtr's names, our files, and whether they are frozen."""
    checkpoints = run / "checkpoints"
    ends = {
        int(path.parent.name.removeprefix("epoch_")): path.parent
        for path in checkpoints.glob("epoch_*/meta.json")
        if path.parent.name.removeprefix("epoch_").isdecimal()
    }
    if not ends:
        return
    trained = {path.stem: path for path in ends[max(ends)].glob("*.safetensors")}
    frozen = {path.stem: path for path in (checkpoints / "frozen").glob("*.safetensors")}
    # gandtr's CycleGAN calls discriminators by the generator they teach, its other methods by what they judge.
    both = "discriminator_day" in trained
    theirs = {
        "discriminator_night": "discriminator_X" if both else "discriminator_Y",
        "discriminator_day": "discriminator_Y",
        "edge_student": "detector",
        "edge_teacher": "detector_frozen" if "edge_student" in trained else "detector",
    }
    for ours, name in theirs.items():
        if ours in trained:
            yield name, trained[ours], False
        elif ours in frozen:
            yield name, frozen[ours], True


def _same_as(path: Path, target: Path) -> Path:
    """Let ``target`` be the file ``path`` beside it: a link, as gandtr's own, or a copy where links cannot be."""
    with temporary_beside(target) as temporary:
        temporary.unlink(missing_ok=True)
        try:
            temporary.symlink_to(path.name)
        except OSError:
            temporary.write_bytes(path.read_bytes())
    return target
