"""The three protocols of revisited Oxford and Paris (Radenovic et al., CVPR 2018, section 3).

Each query's images are graded easy, hard or junk (unclear). Easy asks for the easy ones, medium for easy and
hard, hard for the hard ones; what a protocol does not ask for, though it shows the query's building, is left
out of the list like junk. Queries without easy images are left out of the easy mean.
"""

from __future__ import annotations

from darkside_cli.metrics.protocols import Protocol

#: The groups that a graded ground truth has.
GROUPS = ("easy", "hard", "junk")

EASY = Protocol("easy", relevant=("easy",), junk=("junk", "hard"))
MEDIUM = Protocol("medium", relevant=("easy", "hard"), junk=("junk",))
HARD = Protocol("hard", relevant=("hard",), junk=("junk", "easy"))

PROTOCOLS = (EASY, MEDIUM, HARD)
