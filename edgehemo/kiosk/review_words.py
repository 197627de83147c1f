"""What a person said of a cell, in words."""

from __future__ import annotations

from edgehemo.cells.cell import UNCERTAIN
from edgehemo.records.reviews import Review
from edgehemo.words.cell_names import cell_name
from edgehemo.words.language import Words


def said_of(review: Review, words: Words) -> str:
    """A person's word on a cell."""
    _ = words._
    if review.verdict == "confirmed":
        return _("confirmed")
    if review.verdict == "unsure":
        return _("left open")
    if review.verdict == "not a cell":
        return _("Not a cell")
    return cell_name(words, review.type or UNCERTAIN)
