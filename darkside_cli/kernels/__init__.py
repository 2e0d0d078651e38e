"""CPU kernels: the same networks, faster. :func:`prepare` is the way in; work may also be shared among threads here."""

from darkside_cli.kernels.bands import for_each_band, in_team
from darkside_cli.kernels.dispatch import computes_in, prepare

__all__ = ["computes_in", "for_each_band", "in_team", "prepare"]
