"""The quantities an analyser measures and this project estimates, with their units in the name."""

from __future__ import annotations

from typing import Literal, get_args

Measurand = Literal["hgb_g_per_l", "hct_l_per_l", "rbc_1e12_per_l"]
MEASURANDS: tuple[Measurand, ...] = get_args(Measurand)
