"""The slides to practise on: one table. Leaf module, for the state names them.

All are drawn by the simulated microscope. The fields of a slide are few: who practises learns by
doing it often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

SlideName = Literal[
    "good", "no_anaemia", "severe", "cells", "out_of_focus", "over_stained", "wrong_sample"
]
SLIDE_NAMES: tuple[SlideName, ...] = get_args(SlideName)


@dataclass(frozen=True, slots=True)
class PracticeSlide:
    """source: of the simulated microscope. fields: of it, the unusable ones too. usable: whether a
    grade can be given of it.
    """

    source: str
    fields: int
    usable: bool = True


def _slide(options: str, *, fields: int = 8, usable: bool = True) -> PracticeSlide:
    return PracticeSlide(f"simulated:?{options}&fields={fields}", fields, usable)


SLIDES: Mapping[SlideName, PracticeSlide] = {
    "good": _slide("seed=17&hgb=95&bad=2", fields=14),
    "no_anaemia": _slide("seed=21&hgb=150", fields=12),
    "severe": _slide("seed=23&hgb=52", fields=12),
    "cells": _slide("seed=26&hgb=165&inclusions=0.05", fields=5),
    "out_of_focus": _slide("seed=13&hgb=100&defocus_um=2", usable=False),
    "over_stained": _slide("seed=14&hgb=120&stain=3.3", usable=False),
    "wrong_sample": _slide("seed=25&slide=empty", usable=False),
}
