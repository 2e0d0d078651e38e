"""The retrieval test sets that are known by name: where their ground truth and images are under the data root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from darkside_cli.errors import MissingAssetError, UnknownNameError
from darkside_cli.registry import Entry, Registry


@dataclass(frozen=True, kw_only=True)
class TestSet(Entry):
    """One test set.

    ``folder`` is its name under ``data/test``; ``images_of`` the set whose images it shares, where its own ``jpg``
    (a link) is missing. ``published_protocol`` is what the published mAP of a model is by; ``made`` sets are made here
    when they are first asked for.
    """

    __test__ = False  # not a test, whatever pytest thinks of the name

    folder: str
    images_of: str = ""
    published_protocol: str = ""
    made: bool = False

    def ground_truth(self, root: Path) -> Path:
        """Path of the ground truth under the data root ``root``."""
        return root / "data" / "test" / self.folder / f"gnd_{self.folder}.pkl"

    def images(self, root: Path) -> Path:
        """Folder of the images under ``root``: its own if it is there, else the one it shares."""
        own = root / "data" / "test" / self.folder / "jpg"
        shared = root / "data" / "test" / self.images_of / "jpg"
        return shared if self.images_of and not own.is_dir() and shared.is_dir() else own


TEST_SETS: Registry[TestSet] = Registry(
    "data set",
    (
        TestSet(
            name="tokyo247",
            aliases=("247tokyo1k", "tokyo"),
            summary="24/7 Tokyo (Torii et al., CVPR 2015), queries by day and night",
            folder="247tokyo1k",
            published_protocol="ok",
        ),
        TestSet(
            name="roxford5k",
            aliases=("roxford", "roxf"),
            summary="Revisited Oxford (Radenovic et al., CVPR 2018)",
            folder="roxford5k",
            images_of="oxford5k",
            published_protocol="medium",
        ),
        TestSet(
            name="rparis6k",
            aliases=("rparis", "rpar"),
            summary="Revisited Paris (Radenovic et al., CVPR 2018)",
            folder="rparis6k",
            images_of="paris6k",
            published_protocol="medium",
        ),
        TestSet(
            name="oxford5k",
            summary="Oxford Buildings (Philbin et al., CVPR 2007), the older protocol",
            folder="oxford5k",
        ),
        TestSet(
            name="paris6k",
            summary="Paris Buildings (Philbin et al., CVPR 2008), the older protocol",
            folder="paris6k",
        ),
        TestSet(
            name="nightfall",
            summary="The embedded synthetic city, asked by night and answered by day",
            folder="nightfall",
            made=True,
        ),
        TestSet(
            name="nightfall-day",
            summary="The same asked by day, from the same spots: what night costs",
            folder="nightfall-day",
            images_of="nightfall",
            made=True,
        ),
        TestSet(
            name="nightfall-val",
            summary="Other places of the embedded city, to choose settings by",
            folder="nightfall-val",
            made=True,
        ),
        TestSet(
            name="nightfall-val-day",
            summary="Those asked by day",
            folder="nightfall-val-day",
            images_of="nightfall-val",
            made=True,
        ),
    ),
)


def check_test_set(spec: str) -> None:
    """See that ``spec`` is a test set by name, or a path that is there.

    Raises UnknownNameError for a misspelt name, MissingAssetError for a path that leads nowhere.
    """
    path = Path(spec).expanduser()
    if spec in TEST_SETS or path.exists():
        return
    if path.suffix or len(path.parts) > 1:
        raise MissingAssetError(f"there is no file or folder {path}", hint="check the path")
    raise UnknownNameError(
        "data set",
        spec,
        TEST_SETS.names(aliases=True),
        extra_hint="a folder or a ground truth file will do too",
    )
