"""Scattering coefficients of the reference implementation, as kept in the tests' folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "export" / "scattering_numbers" / "kymatio.json"
# Each: seed and side of a picture of noise, the transform, its coefficients in Kymatio's order.
CASES: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["cases"]
PLAIN_CASES = [case for case in CASES if case["qualities"] == [1, 1]]
