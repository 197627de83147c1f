"""What a report is printed on."""

from __future__ import annotations

from typing import Literal, get_args

Paper = Literal["a4", "letter", "a4_one_page", "roll_80mm"]
PAPERS: tuple[Paper, ...] = get_args(Paper)
