"""Where the command begins: ``darkside`` and ``python -m darkside_cli`` are the same thing."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; Ctrl-C while it is still being loaded is told as it is later."""
    try:
        from darkside_cli.cli.app import main as run
    except KeyboardInterrupt:
        sys.stderr.write("darkside: interrupted\n")
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
