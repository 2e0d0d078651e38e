"""What a run left, written once more where gandtr's users look for it and in the formats that its code reads."""

from __future__ import annotations

from pathlib import Path

from darkside_cli.compat.load import open_checkpoint
from darkside_cli.compat.rewrite import rewrite
from darkside_cli.compat.whitening import read_whitening, write_published_whitening

#: Our outputs by the names of the reference's networks: ``epochs/<name>_best.pth``.
NETWORKS = {
    "generator_day2night": "generator_X",
    "generator_night2day": "generator_Y",
    "descriptor": "embed",
}
WHITENING, PUBLISHED_WHITENING = "descriptor_whitening.safetensors", "whitening/lw-retrieval.pkl"


def write_gandtr_layout(run: Path) -> list[Path]:
    """Write the networks of a run folder as ``epochs/…_best.pth``, its whitening as ``whitening/lw-retrieval.pkl``.

    Returns the paths written; what the run does not have is left out. Raises CheckpointError for a network that gandtr
    cannot express (another backbone than its own, say) or if a file cannot be written.
    """
    written = []
    for ours, theirs in NETWORKS.items():
        source = run / f"{ours}.safetensors"
        if source.is_file():
            target = run / "epochs" / f"{theirs}_best.pth"
            target.parent.mkdir(parents=True, exist_ok=True)
            written.append(rewrite(open_checkpoint(source), target))
    if (run / WHITENING).is_file():
        target = run / PUBLISHED_WHITENING
        target.parent.mkdir(parents=True, exist_ok=True)
        written.append(write_published_whitening(target, read_whitening(run / WHITENING)))
    return written
