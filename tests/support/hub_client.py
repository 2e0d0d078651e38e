"""A user of torch.hub, run as a process of its own: ``python hub_client.py JOB.json``.

The job names the repository and entry points, each with a label, options and images (``.npy``, RGB uint8). What a
model gives for its images goes to ``<label>.npz`` beside the job, and facts are printed as JSON. With ``block`` (a
list of dependencies), installed packages that are neither in it nor required by any of it are not to be had.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import sys
from pathlib import Path
from typing import Any


def forget_installation(repository: str) -> None:
    """Undo what an editable installation does, so that the package comes from torch.hub or not at all."""
    sys.path[:] = [place for place in sys.path if Path(place or ".").resolve() != Path(repository).resolve()]
    sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]


def normal(name: str) -> str:
    """Name of a distribution as all its spellings have it in common."""
    return re.sub(r"[-_.]+", "-", name).lower()


def providers() -> dict[str, set[str]]:
    """Distributions by the import names that they provide, judged by their files."""
    found: dict[str, set[str]] = {}
    for distribution in importlib.metadata.distributions():
        name = normal(distribution.metadata["Name"])
        paths = (str(file) for file in distribution.files or ())
        tops = {path.partition("/")[0] for path in paths if path.endswith((".py", ".so", ".pyd"))}
        for top in tops:
            found.setdefault(top.partition(".")[0], set()).add(name)
    return found


def others(dependencies: list[str]) -> set[str]:
    """Import names of installed packages that ``dependencies`` do not bring with them."""
    provided = providers()
    allowed: set[str] = set()
    queue = [name for top in dependencies for name in provided[top]]
    while queue:
        name = queue.pop()
        if name in allowed:
            continue
        allowed.add(name)
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # one that this platform does not need
        queue += [
            normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in required if "extra ==" not in line
        ]
    return {top for top, names in provided.items() if not names & allowed} - {"darkside_cli"}


def main() -> None:
    file = Path(sys.argv[1])
    job = json.loads(file.read_text())
    forget_installation(job["repository"])
    blocked: set[str] = set()
    if job.get("block"):
        blocked = others(job["block"])
        sys.modules.update(dict.fromkeys(blocked))  # type: ignore[arg-type]  # None is "there is no such module"

    import numpy as np
    import torch
    from PIL import Image

    facts: dict[str, Any] = {}
    for each in job["models"]:
        model = torch.hub.load(job["repository"], each["name"], source="local", **each["options"])
        facts[each["label"]] = {
            "training": model.training,
            "device": str(next(model.parameters()).device),
            "transform": repr(getattr(model, "transform", None)),
        }
        outputs = {}
        with torch.inference_mode():
            for i, pixels in enumerate(map(np.load, each["images"])):
                if hasattr(model, "transform"):
                    x = model.transform(Image.fromarray(pixels)).unsqueeze(0)
                else:
                    x = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 127.5 - 1
                outputs[f"output{i}"] = model(x).numpy()
        np.savez(file.with_name(f"{each['label']}.npz"), **outputs)
    import darkside_cli

    facts["package"] = darkside_cli.__file__
    facts["modules"] = sorted(name for name in sys.modules if name.partition(".")[0] == "darkside_cli")
    facts["foreign"] = sorted(name for name in blocked if sys.modules.get(name) is not None)
    facts["blocked"] = sorted(blocked)
    facts["on_path"] = job["repository"] in sys.path
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
