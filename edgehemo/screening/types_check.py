"""Whether the shares of red-cell types may be given on this microscope.

The types were learnt on one microscope, and how familiar a cell looks to the network does not tell
another microscope from it (measured: docs/pages/using/limits.md). What tells it is a person who
names cells of this microscope that were drawn by lot, without seeing what the model called them
(`edgehemo calibrate types`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgehemo.guidance.withheld import NotGiven, not_given
from edgehemo.statistics.binomial import share_interval

if TYPE_CHECKING:
    from edgehemo.profile.parts import RedCellTypesCheck

# What the lower end of the 95 % interval of the share of agreed names must reach. A name should be
# right nine times in ten; of 100 cells 88 agreed then reach this, of 50 cells 46.
AGREED_FROM = 0.80


def why_types_are_doubted(checked: RedCellTypesCheck | None, model_sha256: str) -> NotGiven | None:
    """Why no shares are given, None where the check bears them out.

    checked: of this microscope. model_sha256: of the checkpoint of the model that names them now.
    """
    if checked is None:
        return not_given("TYPES_NOT_CHECKED")
    if checked.model_sha256 != model_sha256:
        return not_given("TYPES_OF_ANOTHER_MODEL")
    if share_interval(checked.agreed, checked.shown)[0] < AGREED_FROM:
        return not_given("TYPES_CHECK_FAILED", agreed=checked.agreed, shown=checked.shown)
    return None
