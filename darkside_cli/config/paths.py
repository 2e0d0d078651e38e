"""Where data, weights and experiments live.

The data root is the first of ``--data-dir``, ``DARKSIDE_HOME``, ``CIRTORCH_ROOT`` (an existing gandtr or
cirtorch tree is used in place) and the user's own data folder. Inside, the layout is the one of cirtorch::

    <root>/weights/                      published weights and whitenings
    <root>/experiments/                  what training writes
    <root>/data/train/<data set>/        training images, databases and lists
    <root>/data/test/<data set>/         {jpg/, gnd_<data set>.pkl}

Nothing here creates a folder or reads the environment before it is called.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from darkside_cli.errors import ConfigError

#: Environment variables that name the root, the first that is set wins.
ROOT_VARIABLES = ("DARKSIDE_HOME", "CIRTORCH_ROOT")


@dataclass(frozen=True)
class DataRoot:
    """The data root, and who named it.

    ``path`` is absolute (it need not exist yet); ``origin`` is "--data-dir", the environment variable's
    name, or "user data folder". A root can be used as a path: ``root / "weights"``, ``Path(root)``.
    """

    path: Path
    origin: str

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, part: str | os.PathLike[str]) -> Path:
        return self.path / part

    def __str__(self) -> str:
        return str(self.path)

    @property
    def weights(self) -> Path:
        """Folder of the published weights."""
        return self.path / "weights"

    @property
    def experiments(self) -> Path:
        """Folder that training writes its runs to."""
        return self.path / "experiments"

    def test(self, name: str) -> Path:
        """Folder of the test set ``name``."""
        return self.path / "data" / "test" / name

    def train(self, name: str) -> Path:
        """Folder of the training set ``name``."""
        return self.path / "data" / "train" / name


def data_root(explicit: Path | None = None) -> DataRoot:
    """Find the data root: ``explicit``, else the environment, else the user's data folder.

    A variable that is set to nothing counts as unset, ``~`` is expanded, and a relative path is taken from
    the current folder. Raises ConfigError if what was named is a file or has a ``~user`` that does not exist.
    """
    if explicit is not None:
        return DataRoot(_checked(explicit, "--data-dir"), "--data-dir")
    for variable in ROOT_VARIABLES:
        value = os.environ.get(variable, "")
        if value.strip():
            return DataRoot(_checked(Path(value), variable), variable)
    from platformdirs import user_data_path

    return DataRoot(user_data_path("darkside", appauthor=False), "user data folder")


def _checked(path: Path, origin: str) -> Path:
    try:
        path = path.expanduser().absolute()
    except RuntimeError as error:
        raise ConfigError(f"{origin} names {path}: {error}", hint="write the folder out in full") from error
    if path.exists() and not path.is_dir():
        raise ConfigError(
            f"{origin} names {path}, which is not a folder",
            hint="name the folder that holds weights/ and data/",
        )
    return path
