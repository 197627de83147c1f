"""Samples of a microscope whose truth is a straight line, and the fit of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from edgehemo.estimate.pooling import pool
from edgehemo.estimate.values import FieldIndices
from edgehemo_calibration.analyser.fit import AnalyserFit, AnalyserSample, fit_analyser

WHEN = datetime(2026, 11, 21, tzinfo=UTC)


def indices(cover: float, dark: float, density: float = 0.15) -> FieldIndices:
    return FieldIndices(
        cell_cover=cover, cell_od_red=0.05, cell_od_green=density, cell_od_blue=0.06,
        field_od_red=0.02, field_od_green=cover * density, field_od_blue=0.024 * cover,
        dark_share=dark, cell_area_um2=44.0, cell_area_cv=0.1, rbc_per_mm2=None, area_mm2=0.01,
        single_cells=50, scale_source="given",
    )  # fmt: skip


def made_samples(
    count: int, seed: int = 1, noise: float = 4.0, fields: int = 1, between: float = 0.0
) -> list[AnalyserSample]:
    """HGB is 20 + 300 x cover + noise; dark share follows it loosely, the density not at all."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        cover = rng.uniform(0.2, 0.55)
        hgb = 20 + 300 * cover + rng.normal(0, noise)
        measured = [
            indices(
                cover + rng.normal(0, between) if between else cover,
                cover + rng.normal(0, 0.06),
                rng.uniform(0.1, 0.2),
            )
            for _ in range(fields)
        ]
        reference: Any = {
            "hgb_g_per_l": round(hgb, 3),
            "hct_l_per_l": round(hgb / 330, 4),
            "rbc_1e12_per_l": round(hgb / 30, 3),
        }
        samples.append(AnalyserSample(f"s{i}", pool(measured), reference))
    return samples


def fit(samples: list[AnalyserSample], **more: Any) -> AnalyserFit:
    return fit_analyser(samples, made_at=WHEN, **more)
