"""Moved to :mod:`darkside_cli.atomic`; kept for a moment for modules being written."""

from darkside_cli.atomic import temporary_beside, write_bytes_atomic

__all__ = ["temporary_beside", "write_bytes_atomic"]
