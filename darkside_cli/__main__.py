"""``python -m darkside_cli`` is the same thing as ``darkside``."""

from darkside_cli.cli.app import main

if __name__ == "__main__":
    main()
