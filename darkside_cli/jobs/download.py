"""Brings published weights and data sets into the data folder: fetched, checked, unpacked, or taken over from files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from darkside_cli.assets.entries import GROUPS, Asset, State, maker_of
from darkside_cli.errors import DarksideError, UsageError
from darkside_cli.events import Emit, Notice, ignore
from darkside_cli.jobs.needs import open_assets
from darkside_cli.jobs.request import ADVANCED, DATA, DEVICE, Request, ask, make
from darkside_cli.registry import Entry, Registry, resolve

if TYPE_CHECKING:
    from darkside_cli.assets.local import Failures, Imported
    from darkside_cli.assets.store import AssetStore, Plan
    from darkside_cli.assets.verify import Verified


def asset_names() -> list[str]:
    """Names of all assets, aliases and groups included."""
    from darkside_cli.jobs.catalog import ASSETS

    return [*ASSETS.names(aliases=True), *GROUPS]


def size_names() -> list[str]:
    """Names of the sizes in which the city of nightfall is made; "" is the one that is there, else the usual one."""
    sizes: Registry[Entry] = resolve("darkside_cli.nightfall.config:SIZES")
    return ["", *sizes.names(aliases=True)]


@dataclass(frozen=True, kw_only=True)
class DownloadRequest(Request):
    """What to bring into the data folder, or, with ``list``, ``verify`` or ``dry_run``, what to tell of it."""

    names: tuple[str, ...] = ask(
        "Models and data sets, or the groups weights, eval, train, all.",
        (),
        argument=True,
        metavar="NAMES...",
        kind="asset",
        choices_from=asset_names,
    )
    list: bool = ask("Show every asset: state, size, licence.", False)
    from_: tuple[Path, ...] = ask(
        "Import an archive, folder or file that you have already (again and again).", (), metavar="PATH"
    )
    verify: bool = ask("Check what is there against its digests, fetch nothing.", False)
    dry_run: bool = ask("Say what would be fetched, with sizes, and fetch nothing.", False)
    mirror: tuple[str, ...] = ask(
        "Ask here first (again and again; also DARKSIDE_MIRROR): an address, a folder, a list file.",
        (),
        metavar="URL|DIR|LIST",
        group=DATA,
    )
    keep_archives: bool = ask("Keep archives in downloads/ after unpacking.", False, group=DATA)
    size: str = ask(
        "Size of data sets that are made here (nightfall): tiny, small or full [default: small].",
        "",
        kind="size",
        choices_from=size_names,
        group=DATA,
    )
    jobs: int = ask("Files fetched at once.", 4, short="-j", minimum=1, maximum=32, group=DEVICE)
    retries: int = ask(
        "Tries again of an address that fails; the waits double, from 1 s to 30 s.",
        5,
        metavar="N",
        minimum=0,
        maximum=100,
        group=ADVANCED,
    )

    positional: ClassVar[str | None] = "names"

    def check(self) -> None:
        """Raise UsageError for what excludes each other, and if nothing is named that could be brought."""
        tells = self.list or self.verify or self.dry_run
        if sum((self.list, self.verify, self.dry_run)) > 1:
            raise UsageError("--list, --verify and --dry-run exclude each other", hint="choose one")
        if self.from_ and tells:
            not_both = "--from imports, which --list, --verify and --dry-run do not"
            raise UsageError(not_both, hint="leave one of them out")
        if not (self.names or self.from_ or self.list or self.verify):
            hint = "darkside download --list shows what there is"
            raise UsageError("nothing to download is named", hint=hint)


@dataclass(frozen=True)
class AssetList:
    """Every asset that was asked for, and what of it is under ``data_dir``."""

    data_dir: Path
    assets: tuple[tuple[Asset, State], ...]

    def document(self) -> dict[str, Any]:
        """What ``--list --json`` prints."""
        from darkside_cli.jobs.catalog import asset_document

        return {"data_dir": self.data_dir, "assets": [asset_document(*each) for each in self.assets]}


@dataclass(frozen=True)
class DownloadPlan:
    """What getting would take. ``addresses`` has those of each file, in the order to try; ``to_make`` is made here."""

    data_dir: Path
    plan: Plan
    addresses: tuple[tuple[str, ...], ...]
    to_make: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """What ``--dry-run --json`` prints."""
        return {
            "data_dir": self.data_dir,
            "needed_bytes": self.plan.needed,
            "free_bytes": self.plan.free,
            "files": [
                {
                    "path": item.path,
                    "state": item.state,
                    "size_bytes": item.size,
                    "received_bytes": item.received,
                    "from": list(addresses),
                }
                for item, addresses in zip(self.plan.files, self.addresses, strict=True)
            ],
        }


@dataclass(frozen=True)
class Verification:
    """What reading everything and comparing it with its digests found."""

    data_dir: Path
    checked: tuple[Verified, ...]

    def document(self) -> dict[str, Any]:
        """What ``--verify --json`` prints."""
        return {"data_dir": self.data_dir, "checked": [asdict(each) for each in self.checked]}


@dataclass(frozen=True)
class DownloadResult:
    """What is in the data folder now.

    ``paths`` are the files and folders of what was ``imported`` and of the assets that are ``complete``; ``refused``
    says why files that were to be imported were not, ``failed`` why assets are not complete.
    """

    data_dir: Path
    paths: tuple[Path, ...] = ()
    imported: tuple[Imported, ...] = ()
    refused: tuple[tuple[Path, DarksideError], ...] = ()
    complete: tuple[str, ...] = ()
    failed: dict[str, DarksideError] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "data_dir": self.data_dir,
            "imported": [asdict(each) for each in self.imported],
            "refused": [{"path": path, "reason": e.message, "hint": e.hint} for path, e in self.refused],
            "complete": list(self.complete),
            "failed": {name: {"reason": e.message, "hint": e.hint} for name, e in self.failed.items()},
        }


Outcome = AssetList | DownloadPlan | Verification | DownloadResult


def download(names: Sequence[str] | str = (), *, emit: Emit = ignore, **options: Any) -> Outcome:
    """Bring models and data sets into the data folder: ``download(["hedngan", "tokyo247"])``.

    Gives a :class:`DownloadResult`, or what ``list``, ``dry_run`` or ``verify`` of :class:`DownloadRequest` ask for;
    see :func:`run`.
    """
    return run(make(DownloadRequest, names, **options), emit=emit)


def run(request: DownloadRequest, *, emit: Emit = ignore) -> Outcome:
    """Do what ``request`` asks for. One asset, file or address that fails keeps no other from coming.

    Raises ConfigError for a mirror that is none, MissingAssetError if the disk is too small, DarksideError if the
    record of digests is damaged; and what refuses a file to import, if it is all that was asked for.
    """
    from darkside_cli.assets.mirrors import read_mirrors

    store = open_assets(
        request,
        jobs=request.jobs,
        mirrors=read_mirrors(request.mirror),
        size=request.size,
        attempts=request.retries + 1,
    )
    wanted = store.select(request.names)
    if request.list:
        return AssetList(
            store.root, tuple((asset, store.state(asset)) for asset in wanted or list(store.assets))
        )
    if request.verify:
        return verify_assets(store, wanted, emit=emit)
    if request.dry_run:
        plan = store.plan(wanted)
        addresses = tuple(tuple(store.downloads.addresses(item.file)) for item in plan.files)
        to_make = tuple(asset.name for asset in wanted if not store.made(asset))
        return DownloadPlan(store.root, plan, addresses, to_make)
    imported, refused = _import(store, request.from_, emit)
    if len(refused) == 1 and not imported and not wanted:
        raise refused[0][1]
    complete, failed = _get(store, wanted, request.keep_archives, emit)
    _tell_incomplete(store, imported, emit)
    brought = [path for asset in wanted if asset.name in complete for path in _paths(store, asset)]
    return DownloadResult(
        store.root,
        tuple(dict.fromkeys([*(item.path for item in imported), *brought])),
        tuple(imported),
        tuple(refused),
        tuple(asset.name for asset in wanted if asset.name in complete),
        failed,
    )


def verify_assets(store: AssetStore, assets: Sequence[Asset], *, emit: Emit = ignore) -> Verification:
    """Read ``assets``, or all that something is there of if none are named, and compare them with their digests."""
    from darkside_cli.assets.verify import verify

    present = assets or [asset for asset in store.assets if store.state(asset).status != "missing"]
    found = [item for item in verify(store, present, emit) if assets or item.verdict != "missing"]
    return Verification(store.root, tuple(found))


def _import(store: AssetStore, sources: Sequence[Path], emit: Emit) -> tuple[list[Imported], Failures]:
    """Take over ``sources``, each for itself: what was imported, and what was refused."""
    from darkside_cli.assets.local import import_local

    imported: list[Imported] = []
    refused: Failures = []
    for source in sources:
        try:
            imported += import_local(store, source.expanduser(), emit, failures=refused)
        except DarksideError as error:
            refused.append((source, error))
    return imported, refused


def _get(
    store: AssetStore, wanted: Sequence[Asset], keep_archives: bool, emit: Emit
) -> tuple[set[str], dict[str, DarksideError]]:
    """Bring ``wanted``, what is downloaded before what is made here: names of what is complete, why others are not."""
    complete: set[str] = set()
    failed: dict[str, DarksideError] = {}
    for made in (False, True):
        assets = [asset for asset in wanted if bool(asset.made_by) is made]
        if assets:
            got = store.get(assets, emit, keep_archives=keep_archives)
            complete |= set(got.complete)
            failed |= got.failed
    return complete, failed


def _paths(store: AssetStore, asset: Asset) -> list[Path]:
    """Files, folders and links of an asset that is complete."""
    from darkside_cli.assets.inventory import find_file, find_images

    maker = maker_of(asset)
    return [
        *(path for file in asset.files if (path := find_file(store.root, file)) is not None),
        *([find_images(store.root, asset.images)] if asset.images is not None else []),
        *([store.root / asset.loose.folder] if asset.loose is not None else []),
        *(store.root / link.path for link in asset.links),
        *(maker.folders(store.root) if maker is not None else []),
    ]


def _tell_incomplete(store: AssetStore, imported: Sequence[Imported], emit: Emit) -> None:
    """Say what an imported set still lacks; one of two archives is no mistake, but it is not all."""
    for name in dict.fromkeys(item.asset for item in imported):
        asset = store.assets.get(name)
        images = asset.images or asset.loose
        state = store.state(replace(asset, files=(), links=())) if images is not None else None
        if images is not None and state is not None and state.status != "complete":
            count = f" of {images.count:,}" if images.count is not None else ""
            emit(Notice(f"{name}: {state.images or 0:,}{count} images are here now; it is not complete yet"))
