from __future__ import annotations

from pathlib import Path

import pytest

from darkside_cli.errors import MissingAssetError
from darkside_cli.interop.folders import direction_of, epoch_of, find_generator


def lay(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return folder


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("generator_X.pth", "day2night"),
        ("generator_X_best.pth", "day2night"),
        ("generator_X_epoch_03.pth", "day2night"),
        ("hedngan_generator_X.pth", "day2night"),
        ("latest_net_G_A.pth", "day2night"),
        ("generator_day2night.safetensors", "day2night"),
        ("generator_Y_last.pth", "night2day"),
        ("cyclegan_generator_Y.pth", "night2day"),
        ("55_net_G_B.pth", "night2day"),
        ("generator_night2day_best.safetensors", "night2day"),
        ("latest_net_G.pth", None),
        ("discriminator_X.pth", None),
        ("mygenerator_X.pth", None),
        ("generator_Xtra.pth", None),
        ("latest_net_D_A.pth", None),
        ("hed.pth", None),
    ],
)
def test_direction_of_a_name(name: str, direction: str | None) -> None:
    assert direction_of(Path("anywhere") / name) == direction


@pytest.mark.parametrize(
    ("name", "epoch"),
    [
        ("generator_X_epoch_03.pth", 3),
        ("generator_Y_17.pth", 17),
        ("200_net_G_A.pth", 200),
        ("generator_day2night_epoch_12.safetensors", 12),
        ("latest_net_G.pth", None),
        ("generator_X_best.pth", None),
    ],
)
def test_epoch_of_a_name(name: str, epoch: int | None, tmp_path: Path) -> None:
    assert epoch_of(tmp_path / name) == epoch


def test_epoch_of_what_a_link_leads_to(tmp_path: Path) -> None:
    lay(tmp_path, "generator_X_epoch_03.pth")
    (tmp_path / "generator_X_best.pth").symlink_to("generator_X_epoch_03.pth")
    assert epoch_of(tmp_path / "generator_X_best.pth") == 3


def test_gandtr_experiment_as_it_lies_on_disk(tmp_path: Path) -> None:
    """The file names of the golden training run after its last epoch, links included."""
    folder = lay(
        tmp_path,
        *(f"epochs/generator_{d}_epoch_0{e}.pth" for d in "XY" for e in (2, 3)),
        "epochs/discriminator_X_epoch_03.pth",
        "epochs/learning_epoch_03.pth",
        "epochs/net_epoch_03.pth",
    )
    for network in ("generator_X", "generator_Y", "discriminator_X"):
        for tag in ("best", "last"):
            (folder / "epochs" / f"{network}_{tag}.pth").symlink_to(f"{network}_epoch_03.pth")
    for start in (folder, folder / "epochs"):
        assert find_generator(start) == folder / "epochs" / "generator_X_best.pth"
        assert find_generator(start, "night2day") == folder / "epochs" / "generator_Y_best.pth"
    (folder / "epochs" / "generator_X_best.pth").unlink()
    (folder / "epochs" / "generator_X_best.pth").symlink_to("generator_X_epoch_99.pth")
    assert find_generator(folder).name == "generator_X_last.pth", "a link that leads nowhere is passed over"


def test_preference_among_tags(tmp_path: Path) -> None:
    order = ["best", "bestsofar", "last", "epoch_10", "epoch_9", "2", "frozen"]
    names = [f"generator_X_{tag}.pth" for tag in order]
    lay(tmp_path, *names, "generator_X_opt.pth")
    for name in names:
        assert find_generator(tmp_path).name == name
        (tmp_path / name).unlink()
    with pytest.raises(MissingAssetError, match=r"it has generator_X_opt\.pth: name the file"):
        find_generator(tmp_path)


def test_cyclegan_folder(tmp_path: Path) -> None:
    lay(tmp_path, "latest_net_G_A.pth", "latest_net_G_B.pth", "latest_net_D_A.pth", "200_net_G_A.pth")
    assert find_generator(tmp_path).name == "latest_net_G_A.pth"
    assert find_generator(tmp_path, "day2night").name == "latest_net_G_A.pth"
    assert find_generator(tmp_path, "night2day").name == "latest_net_G_B.pth"
    (tmp_path / "latest_net_G_A.pth").unlink()
    assert find_generator(tmp_path).name == "200_net_G_A.pth"


def test_cut_folder_serves_either_direction(tmp_path: Path) -> None:
    lay(tmp_path, "latest_net_G.pth", "latest_net_D.pth", "latest_net_F.pth", "5_net_G.pth")
    for direction in (None, "day2night", "night2day"):
        assert find_generator(tmp_path, direction).name == "latest_net_G.pth"


def test_our_runs(tmp_path: Path) -> None:
    run = lay(tmp_path / "a", "checkpoints/generator_day2night.safetensors", "checkpoints/state.pt")
    assert find_generator(run) == run / "checkpoints" / "generator_day2night.safetensors"
    lay(run, "generator_day2night.safetensors", "generator_night2day.safetensors", "epochs/generator_X.pth")
    assert find_generator(run) == run / "generator_day2night.safetensors"
    assert find_generator(run, "night2day") == run / "generator_night2day.safetensors"
    epochs = lay(tmp_path / "b", *(f"checkpoints/generator_day2night_epoch_{e}.safetensors" for e in (9, 10)))
    assert find_generator(epochs).name == "generator_day2night_epoch_10.safetensors"


def test_only_the_other_direction(tmp_path: Path) -> None:
    lay(tmp_path, "generator_Y_best.pth")
    assert find_generator(tmp_path).name == "generator_Y_best.pth"
    with pytest.raises(MissingAssetError) as caught:
        find_generator(tmp_path, "day2night")
    assert caught.value.message.endswith("has no generator of the direction day2night")
    assert caught.value.hint == "it has generator_Y_best.pth (night2day)"


def test_folders_without_a_generator(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError, match=r"has no generator's weights \(a run's folder has"):
        find_generator(tmp_path)
    lay(tmp_path, "net_best.pth", "epochs/embed.pth", "readme.txt", "generator_X_best.pth/inside.txt")
    with pytest.raises(MissingAssetError, match=r"it has net_best\.pth, embed\.pth: name the file"):
        find_generator(tmp_path)
    lay(tmp_path, *(f"w{i}.pth" for i in range(9)))
    with pytest.raises(MissingAssetError, match=r"w3\.pth, …: name the file"):
        find_generator(tmp_path)
