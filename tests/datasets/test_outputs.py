from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from darkside_cli.datasets import outputs
from darkside_cli.datasets.listing import expand_inputs
from darkside_cli.datasets.outputs import InputImage, TranslationJob, changed_names, plan_outputs
from darkside_cli.errors import UnknownNameError, UsageError
from darkside_cli.images.formats import IMAGE_SUFFIXES, can_write, format_of_path, suffix_of_format

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file names")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(
    *names: str | tuple[str, str],
    out_dir: str | None = "night",
    suffix: str = "",
    format: str | None = None,
    drop_results: bool = False,
) -> list[str]:
    """Targets for inputs given as "path" or as ("path", "relative")."""
    pairs = [(name, name) if isinstance(name, str) else name for name in names]
    inputs = [InputImage(Path(path), PurePath(relative)) for path, relative in pairs]
    jobs = plan_outputs(
        inputs,
        out_dir=Path(out_dir) if out_dir is not None else None,
        suffix=suffix,
        format=format,
        drop_results=drop_results,
    )
    if not drop_results:
        assert [job.source for job in jobs] == [image.path for image in inputs]
    return [job.target.as_posix() for job in jobs]


def refused(*names: str | tuple[str, str], **options: object) -> UsageError:
    with pytest.raises(UsageError) as caught:
        plan(*names, **options)  # type: ignore[arg-type]
    return caught.value


# Names


def test_relative_names_under_the_output_folder():
    assert plan("a.jpg", "x/a.jpg", ("/far/b.png", "b.png")) == [
        "night/a.jpg",
        "night/x/a.jpg",
        "night/b.png",
    ]
    assert plan("a.jpg", suffix="_n") == ["night/a_n.jpg"]
    assert plan("x/a.jpg", out_dir="/far/n") == ["/far/n/x/a.jpg"]
    assert plan() == []


def test_beside_the_source():
    assert plan("a.jpg", ("/far/x/b.png", "b.png"), out_dir=None, suffix="_n") == [
        "a_n.jpg",
        "/far/x/b_n.png",
    ]
    assert "--suffix" in (refused("a.jpg", out_dir=None).hint or "")


def test_extensions_that_can_be_written_stay_as_they_are():
    names = ["a.jpg", "b.JPG", "c.jpeg", "d.Jpeg", "e.png", "f.PNG", "g.webp", "h.tif", "i.TIFF", "j.bmp"]
    assert plan(*names) == [f"night/{name}" for name in names]


def test_other_images_become_png():
    assert plan("a.gif", "b.JP2", "c.heic", "d.ppm", suffix="_n") == [
        "night/a_n.png",
        "night/b_n.png",
        "night/c_n.png",
        "night/d_n.png",
    ]


def test_what_is_no_extension_belongs_to_the_name():
    assert plan("noext", "scene v1.2", ".jpg", "a.", "b.jpg.bak") == [
        "night/noext.png",
        "night/scene v1.2.png",
        "night/.jpg.png",
        "night/a..png",
        "night/b.jpg.bak.png",
    ]
    assert plan("scene v1.2", suffix="_n", format="jpg") == ["night/scene v1.2_n.jpg"]


def test_avif_where_pillow_has_it(monkeypatch: pytest.MonkeyPatch):
    expected = "night/a.avif" if can_write("AVIF") else "night/a.png"
    assert plan("a.avif") == [expected]
    monkeypatch.setattr("darkside_cli.images.formats.can_write", lambda name: name != "AVIF")
    assert plan("a.avif") == ["night/a.png"]


@pytest.mark.parametrize(
    ("format", "extension"),
    [
        ("jpg", ".jpg"),
        ("JPEG", ".jpeg"),
        (".png", ".png"),
        ("Tif", ".tif"),
        ("webp", ".webp"),
        ("bmp", ".bmp"),
    ],
)
def test_format(format: str, extension: str):
    assert plan("a.JPG", "b", format=format) == [f"night/a{extension}", f"night/b{extension}"]


def test_unknown_formats():
    for name in ("gif", "jgp", "", "pdf", "heic"):
        with pytest.raises(UnknownNameError):
            plan("a.jpg", format=name)
    with pytest.raises(UnknownNameError, match="jpg"):
        suffix_of_format("jgp")


@pytest.mark.parametrize("suffix", ["/x", "../x", "a\0b"])
def test_suffixes_that_lead_elsewhere(suffix: str):
    assert "suffix" in refused("a.jpg", suffix=suffix).message


def test_formats_of_paths():
    assert format_of_path(PurePath("x/a.JPG")) == "JPEG"
    assert format_of_path(PurePath("a.gif")) is None
    assert format_of_path(PurePath("a")) is None
    assert not can_write("GIF")


# Collisions


def test_colliding_inputs_keep_their_extension():
    assert plan("a.jpg", "b.jpg", "a.png", format="png") == [
        "night/a.jpg.png",
        "night/b.png",
        "night/a.png.png",
    ]
    assert plan("a.gif", "a.png") == ["night/a.gif.png", "night/a.png.png"]
    assert plan("a.jpg", "a.png", suffix="_n", format="jpg") == ["night/a_n.jpg.jpg", "night/a_n.png.jpg"]
    assert plan("a", "a.png") == ["night/a.png", "night/a.png.png"]
    assert plan("a.jpg", "a.png") == ["night/a.jpg", "night/a.png"]


def test_names_do_not_depend_on_the_order():
    names = ["a.jpg", "b.gif", "a.gif", "c.png", "a.png"]
    targets = dict(zip(names, plan(*names, format="png"), strict=True))
    assert dict(zip(names[::-1], plan(*names[::-1], format="png"), strict=True)) == targets


@pytest.fixture
def equal_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes upper and lower case, and Unicode forms, for the same."""
    monkeypatch.setattr(outputs, "tried_out", lambda folder: (True, True))


composed, decomposed = "caf\u00e9", "cafe\u0301"


@pytest.mark.usefixtures("equal_names")
def test_upper_and_lower_case_and_unicode_forms_collide_where_the_file_system_says_so():
    assert plan("a.jpg", "A.png", format="png") == ["night/a.jpg.png", "night/A.png.png"]
    assert plan("a.JPG", "a.jpg") == ["night/a.JPG", "night/a-2.jpg"]
    assert plan("a.jpg", "a.JPG") == ["night/a-2.jpg", "night/a.JPG"]
    assert plan(f"{composed}.jpg", f"{decomposed}.png", format="png") == [
        f"night/{composed}.jpg.png",
        f"night/{decomposed}.png.png",
    ]


@posix_only
@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take such names for the same")
def test_upper_and_lower_case_and_unicode_forms_keep_their_names_where_they_differ(here: Path):
    names = ["a.JPG", "a.jpg", "A.jpg", f"{composed}.jpg", f"{decomposed}.jpg", "x/a.jpg", "X/A.JPG"]
    assert plan(*names) == [f"night/{name}" for name in names]
    assert plan("a.jpg", "A.png", format="png") == ["night/a.png", "night/A.png"]
    # What only resembles a result is none: it stays an input.
    assert plan("a.jpg", "A_n.jpg", out_dir=None, suffix="_n", drop_results=True) == ["a_n.jpg", "A_n_n.jpg"]
    assert list(here.iterdir()) == []  # nothing is left of trying the file system out


@posix_only
def test_file_systems_are_tried_out_only_for_names_that_resemble_each_other(
    here: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str] = []
    real = outputs.tried_out
    monkeypatch.setattr(outputs, "tried_out", lambda folder: (asked.append(folder), real(folder))[1])
    plan("a.jpg", "b.jpg", "x/a.jpg", ("/far/a.jpg", "a.jpg"))
    assert asked == []
    plan("a.jpg", "a.JPG", "b.jpg", "B.jpg")
    assert asked == [str(here)]  # once, where night/ will be
    assert real("/nowhere/at/all") == (True, True)


@posix_only
def test_spellings_and_links_of_the_output_folder_collide(here: Path):
    (here / "one").mkdir()
    (here / "night").mkdir()
    (here / "night" / "link").symlink_to(here / "one")
    (here / "night" / "real").symlink_to(here / "one")
    assert plan("link/a.jpg", "real/a.jpg") == ["night/link/a.jpg", "night/real/real/a.jpg"]


def test_of_one_name_from_several_folders_one_keeps_it_and_the_others_get_their_folders():
    # decided in the order of the sources' names, whatever the order they are given in
    pairs = [("x/a.jpg", "a.jpg"), ("y/a.jpg", "a.jpg"), ("z/a.jpg", "a.jpg")]
    targets = ["night/a.jpg", "night/y/a.jpg", "night/z/a.jpg"]
    assert plan(*pairs) == targets
    assert plan(*reversed(pairs)) == targets[::-1]
    assert plan("a.jpg", ("p/a.jpg", "a.jpg"), ("q/p/a.jpg", "a.jpg")) == [
        "night/a.jpg",
        "night/p/a.jpg",
        "night/p/a-2.jpg",
    ]
    # Never out of the output folder, whatever the path is like.
    assert plan("a.jpg", ("../x/../q/a.jpg", "a.jpg")) == ["night/a.jpg", "night/q/a.jpg"]


def test_collisions_that_extensions_do_not_resolve():
    # a.jpg.png twice
    assert plan("a.jpg", "a.gif", "a.jpg.tif", format="png") == [
        "night/a.jpg.png",
        "night/a.gif.png",
        "night/a.jpg-2.png",
    ]


def test_changed_names_are_told():
    images = [InputImage(Path(name), PurePath("a.jpg")) for name in ("x/a.jpg", "y/a.jpg", "z/a.jpg")]
    jobs = plan_outputs(images, out_dir=Path("night"), suffix="", format=None)
    assert changed_names(jobs[:1]) == []
    assert [job.instead_of for job in jobs] == [None, Path("night/a.jpg"), Path("night/a.jpg")]
    told = changed_names(jobs, most=1)
    assert told[0] == "y/a.jpg is written to night/y/a.jpg: night/a.jpg would be another image's too"
    assert "1 more" in told[1]


# Nobody's photograph is overwritten


def test_own_source():
    assert "x/a.jpg" in refused(("x/a.jpg", "a.jpg"), out_dir="x").message
    assert "a.jpg" in refused("a.jpg", out_dir=".").message
    assert "a.jpg" in refused("a.jpg", out_dir="x/..").message
    assert plan("a.jpg", out_dir=".", suffix="_n") == ["a_n.jpg"]
    assert plan("a.jpg", out_dir=".", format="png") == ["a.png"]


def test_another_source():
    error = refused("a.jpg", "a_n.jpg", out_dir=None, suffix="_n")
    assert "a_n.jpg" in error.message
    error = refused("a.jpg", ("night/a.jpg", "b.jpg"))
    assert "night/a.jpg" in error.message
    assert refused("a.gif", "a.png", ("night/a.gif.png", "c.png"))


@pytest.mark.usefixtures("equal_names")
def test_another_source_by_another_spelling():
    assert refused("a.jpg", ("NIGHT/A.jpg", "b.jpg"))


@posix_only
def test_sources_behind_links(here: Path):
    (here / "photos").mkdir()
    (here / "photos" / "a.jpg").write_bytes(b"")
    (here / "night").symlink_to("photos")
    assert refused(("photos/a.jpg", "a.jpg"))  # night/a.jpg is photos/a.jpg
    (here / "dark").mkdir()
    (here / "dark" / "a.jpg").symlink_to(here / "photos" / "a.jpg")
    assert refused(("photos/a.jpg", "a.jpg"), out_dir="dark")
    (here / "link.jpg").symlink_to(here / "dark" / "b.jpg")
    assert refused(
        ("x/b.jpg", "b.jpg"), ("link.jpg", "c.jpg"), out_dir="dark"
    )  # dark/b.jpg is what link.jpg reads


def test_results_of_an_earlier_run_are_left_out_on_demand():
    assert plan("a.jpg", "a_n.jpg", out_dir=None, suffix="_n", drop_results=True) == ["a_n.jpg"]
    assert plan("a.jpg", "b.jpg", "a_n.jpg", "b_n.jpg", out_dir=None, suffix="_n", drop_results=True) == [
        "a_n.jpg",
        "b_n.jpg",
    ]
    # a_n.jpg is left out and has no result in this run, so a_n_n.jpg is a photograph like any other.
    assert plan("a_n_n.jpg", "a.jpg", "a_n.jpg", out_dir=None, suffix="_n", drop_results=True) == [
        "a_n_n_n.jpg",
        "a_n.jpg",
    ]
    assert plan("a.jpg", "night/a.jpg", "b.jpg", drop_results=True) == ["night/a.jpg", "night/b.jpg"]
    assert plan("a.gif", "a_n.png", out_dir=None, suffix="_n", drop_results=True) == ["a_n.png"]
    assert plan("b_n.jpg", "a.jpg", out_dir=None, suffix="_n", drop_results=True) == ["b_n_n.jpg", "a_n.jpg"]


def test_results_left_out_do_not_change_other_names():
    # a_n.png is a result; as an input it would share a_n_n.png with a_n.jpg, whose name would change for it.
    first = plan("a.jpg", "a_n.jpg", out_dir=None, suffix="_n", format="png", drop_results=True)
    assert first == ["a_n.png", "a_n_n.png"]
    again = plan("a.jpg", "a_n.jpg", *first, out_dir=None, suffix="_n", format="png", drop_results=True)
    assert again == first


def test_own_source_is_an_error_even_then():
    assert refused("a.jpg", out_dir=".", drop_results=True)


# Properties

stems = st.text("ab_n.é 'IMG", min_size=1, max_size=5).filter(
    lambda name: name.strip(" .") and name[0] != "."
)
extensions = st.sampled_from([".jpg", ".JPG", ".png", ".gif", ".tiff", ""])
files = st.lists(
    st.builds(
        lambda folder, stem, extension: folder + stem + extension,
        st.sampled_from(["", "x/", "y/z/"]),
        stems,
        extensions,
    ),
    max_size=8,
    unique=True,
)
options = st.fixed_dictionaries(
    {
        "out_dir": st.sampled_from([None, "night", "x", "."]),
        "suffix": st.sampled_from(["", "_n", ".png"]),
        "format": st.sampled_from([None, "png", "jpg"]),
    }
)


def make_tree(root: Path, names: Sequence[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"day")


def plan_folder(root: Path, out_dir: str | None, suffix: str, format: str | None) -> list[TranslationJob]:
    folder = root / out_dir if out_dir is not None else None
    inputs = expand_inputs([root], recursive=True, exclude=folder)
    return plan_outputs(inputs, out_dir=folder, suffix=suffix, format=format, drop_results=True)


@posix_only
@settings(deadline=None, max_examples=150)
@given(names=files, given_options=options)
def test_a_run_overwrites_nothing_and_a_second_run_plans_the_same(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], given_options: dict[str, str | None]
):
    root = tmp_path_factory.mktemp("tree")
    try:
        make_tree(root, names)
    except OSError:
        assume(False)  # a file is in the way of a folder
    out_dir, suffix, format = given_options["out_dir"], given_options["suffix"] or "", given_options["format"]
    try:
        jobs = plan_folder(root, out_dir, suffix, format)
    except UsageError:
        return
    targets = [os.path.normcase(job.target) for job in jobs]
    assert len(set(targets)) == len(targets)
    for job in jobs:
        assert job.source.read_bytes() == b"day"
        assert job.target.suffix.lower() in IMAGE_SUFFIXES
        if format is not None:
            assert job.target.suffix == f".{format}"
    read = {job.source for job in jobs}
    assert not read & {job.target for job in jobs}
    for job in jobs:
        job.target.parent.mkdir(parents=True, exist_ok=True)
        job.target.write_bytes(b"night")
    assert all(source.read_bytes() == b"day" for source in read)
    # A result without suffix among the inputs cannot be told from a photograph of that name.
    if suffix or out_dir != ".":
        assert plan_folder(root, out_dir, suffix, format) == jobs
