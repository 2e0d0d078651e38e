"""How long ``darkside --help`` and ``darkside COMMAND --help`` take, beside an empty Python.

    python tests/benchmarks/bench_startup.py [--runs 15]

Whole processes, in turn; medians are printed. The aim is 0.3 s.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import time


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    darkside = [sys.executable, "-m", "darkside_cli"]
    listing = subprocess.run([*darkside, "--help"], check=True, capture_output=True, text=True).stdout
    names = re.findall(
        r"^  ([a-z]\S+)  ",
        listing.partition("\nPhotographs:")[2].partition("\nOptions:")[0],
        flags=re.MULTILINE,
    )
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "python -c 'import typer'": [sys.executable, "-c", "import typer"],
        "darkside --help": [*darkside, "--help"],
        **{f"darkside {name} --help": [*darkside, name, "--help"] for name in names},
    }
    for command in commands.values():
        seconds(command)
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            times[name].append(seconds(command))
    for name, values in times.items():
        print(
            f"{name:<32} median {statistics.median(values):.3f} s   ({min(values):.3f} to {max(values):.3f})"
        )


if __name__ == "__main__":
    main()
