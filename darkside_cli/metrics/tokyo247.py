"""The protocol of 24/7 Tokyo (``247tokyo1k``), of the first Oxford and Paris, and of one's own sets of
places.

A query has ``ok`` images, all of the same place, and ``junk``, left out of the list. In ``247tokyo1k`` (Torii
et al., CVPR 2015, as used for day-night GeM descriptors) the 1125 photographs of 125 views are query and
database in one: ``ok`` are the other pictures of the view, by day, at sunset and at night, and ``junk`` is
the query itself.
"""

from __future__ import annotations

from darkside_cli.metrics.protocols import Protocol

#: The groups that an ungraded ground truth has.
GROUPS = ("ok", "junk")

OK = Protocol("ok", relevant=("ok",), junk=("junk",))

PROTOCOLS = (OK,)
