"""A small world of assets, for tests: one set out of two archives, its revision, a sharded set, a file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from archive_makers import jpeg_bytes, tar_bytes
from faulty_server import FaultyServer

from darkside_cli.assets.download_options import Options
from darkside_cli.assets.entries import Archive, Asset, ImageSet, Link, RemoteFile, shard_path
from darkside_cli.assets.http import Timeouts
from darkside_cli.assets.store import AssetStore
from darkside_cli.registry import Registry

QUICK = Options(
    timeouts=Timeouts(60.0, 60.0), wait=lambda stop, seconds: None, spare_bytes=0, attempts=3, jobs=3
)
IMAGES = {f"paris_x_{n:06}.jpg": jpeg_bytes(n, 3000) for n in range(8)}
NAMES = sorted(IMAGES)
FIRST = {f"paris/x/{name}": IMAGES[name] for name in NAMES[:5]} | {"paris/x/paris_x_000099.jpg": b"302 Found"}
SECOND = {f"paris/x/{name}": IMAGES[name] for name in NAMES[5:]}
GND = "\n".join(name.removesuffix(".jpg") for name in NAMES).encode()
JPG = "data/test/paris/jpg"
CIDS = [f"{n:02x}" * 16 for n in range(3)]


def registry(base: str) -> Registry[Asset]:
    """Build the registry of the world whose server is at ``base``."""
    return Registry(
        "asset",
        (
            Asset(
                name="net", summary="a network", files=(RemoteFile(path="w/net.bin", urls=(f"{base}/net",)),)
            ),
            Asset(
                name="paris",
                summary="images",
                files=(RemoteFile(path="data/test/paris/gnd.txt", urls=(f"{base}/gnd.txt",)),),
                images=ImageSet(
                    folder=JPG,
                    also_at=("data/test/rparis/jpg",),
                    archives=tuple(
                        Archive(
                            path=f"downloads/p{n}-v1.tgz",
                            urls=(f"{base}/p{n}.tgz",),
                            names=(f"p{n}-v1.tgz", f"p{n}.tgz"),
                        )
                        for n in (1, 2)
                    ),
                    pattern=r"paris_[a-z]+_\d{6}\.jpg",
                    count=8,
                    named_by=("data/test/paris/gnd.txt",),
                    broken=frozenset({"paris_x_000099.jpg"}),
                ),
                by_hand="get them from the shelf",
            ),
            Asset(
                name="rparis",
                summary="revised",
                files=(RemoteFile(path="data/test/rparis/gnd.txt", urls=(f"{base}/rgnd.txt",)),),
                links=(Link(path="data/test/rparis/jpg", target=JPG),),
                requires=("paris",),
            ),
            Asset(
                name="sfm",
                summary="sharded",
                images=ImageSet(
                    folder="data/train/sfm/ims",
                    archives=(
                        Archive(path="downloads/ims.tar.gz", urls=(f"{base}/ims",), names=("ims.tar.gz",)),
                    ),
                    pattern=r"[0-9a-f]{32}",
                    layout="sharded",
                    named_by=("data/train/sfm/day.txt", "data/train/sfm/db.pkl"),
                ),
            ),
        ),
    )


def read_names(path: Path) -> Iterable[str]:
    return path.read_text().split()


def open_store(server: FaultyServer, root: Path, **changes: object) -> AssetStore:
    return AssetStore(root, registry(server.base), replace(QUICK, **changes), read_names)  # type: ignore[arg-type]


def fill(server: FaultyServer) -> None:
    """Put everything on the server."""
    server.add("/net", b"weights of a network")
    server.add("/gnd.txt", GND)
    server.add("/rgnd.txt", GND)
    server.add("/p1.tgz", tar_bytes(FIRST))
    server.add("/p2.tgz", tar_bytes(SECOND))
    server.add("/ims", tar_bytes({f"{shard_path(cid)}": jpeg_bytes(int(cid[:2], 16)) for cid in CIDS}))
