"""Blood counts (CBC panels) that simulated smears are drawn from.

`read_panels` reads the real ones of AneRBC (Shahzad et al. 2024, CC BY 4.0); `draw_panel` draws
new ones that follow the same distribution without that folder, through a Gaussian copula fitted
to them and shipped as figures (quantile tables and a correlation matrix, no patient's panel).
``python -m edgehemo.simulation.panels PANELS.csv`` makes that file anew.
"""

from __future__ import annotations

import csv
import json
import math
import sys
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_json_atomically

COPULA_FILE = "anerbc_copula.json"
COPULA_SCHEMA = "edgehemo.panel-copula/1"
SOURCE = "AneRBC, Shahzad et al. 2024, CC BY 4.0"

# What the copula joins. HCT = HGB / MCHC, RBC = HCT / MCV, MCH = HGB / RBC follow from these, so a
# drawn panel cannot contradict itself.
COPULA_VARIABLES = ("hgb_g_per_l", "mcv_fl", "mchc_g_per_l", "wbc_1e9_per_l", "plt_1e9_per_l")
# Levels of the quantile tables: even in the middle, closer in the tails, where a leukaemia's white
# count would otherwise be smeared over the last percent.
QUANTILE_LEVELS = (
    0.0,
    0.002,
    0.005,
    0.01,
    *(0.02 * step for step in range(1, 50)),
    0.99,
    0.995,
    0.998,
    1.0,
)

# A published panel whose printed MCV or MCH differs by more than this from what its own RBC, HCT
# and HGB give holds a shifted or mistyped figure. With the limits of MCHC below that is true of 52
# of the 507 complete panels of AneRBC.
MAX_INDEX_DISAGREEMENT = 0.05
# Haemoglobin crystallises above about 380 g/L of red cell; below 200 no cell was ever measured.
MCHC_RANGE_G_PER_L = (200.0, 400.0)
# What a drawn panel may hold: the extremes among AneRBC's consistent panels, rounded outwards.
RBC_RANGE_1E12_PER_L = (0.7, 9.5)
HCT_RANGE_L_PER_L = (0.06, 0.70)

# AneRBC gives no RDW. The simulation takes a normal 13.5 % and lets it rise as cells get smaller
# and paler, as in iron deficiency (an assumption of the simulation, no measured relation).
NORMAL_RDW_PERCENT = 13.5
RDW_RANGE_PERCENT = (11.0, 30.0)

_CSV_COLUMNS = {
    "hgb_g_per_l": "hgb_g_per_l",
    "hct_l_per_l": "hct_l_per_l",
    "rbc_1e12_per_l": "rbc_1e12_per_l",
    "wbc_1e9_per_l": "wbc_1e9_per_l",
    "plt_1e9_per_l": "plt_1e9_per_l",
}


@dataclass(frozen=True, slots=True)
class CBCPanel:
    """One blood count. Units are in the names; ``rdw_percent`` is the volumes' relative spread.

    MCV, MCH and MCHC are derived, never stored, so that HCT = RBC x MCV and HGB = RBC x MCH.
    Raises UsageError for a figure that is not positive and finite (WBC and PLT may be 0).
    """

    hgb_g_per_l: float
    hct_l_per_l: float
    rbc_1e12_per_l: float
    wbc_1e9_per_l: float
    plt_1e9_per_l: float
    rdw_percent: float = NORMAL_RDW_PERCENT

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            may_be_zero = item.name in ("wbc_1e9_per_l", "plt_1e9_per_l", "rdw_percent")
            if not math.isfinite(value) or value < 0 or (value == 0 and not may_be_zero):
                raise UsageError(f"a blood count with {item.name} = {value:g} cannot be simulated")

    @property
    def mcv_fl(self) -> float:
        """Mean red-cell volume, fL."""
        return 1000.0 * self.hct_l_per_l / self.rbc_1e12_per_l

    @property
    def mch_pg(self) -> float:
        """Mean haemoglobin of a red cell, pg."""
        return self.hgb_g_per_l / self.rbc_1e12_per_l

    @property
    def mchc_g_per_l(self) -> float:
        """Mean haemoglobin concentration of the red cells, g/L."""
        return self.hgb_g_per_l / self.hct_l_per_l

    @classmethod
    def from_indices(
        cls,
        *,
        hgb_g_per_l: float,
        mcv_fl: float,
        mchc_g_per_l: float,
        wbc_1e9_per_l: float = 7.0,
        plt_1e9_per_l: float = 250.0,
        rdw_percent: float | None = None,
    ) -> CBCPanel:
        """The panel with this haemoglobin, cell volume and cell haemoglobin concentration."""
        hct = hgb_g_per_l / mchc_g_per_l
        return cls(
            hgb_g_per_l=hgb_g_per_l,
            hct_l_per_l=hct,
            rbc_1e12_per_l=1000.0 * hct / mcv_fl,
            wbc_1e9_per_l=wbc_1e9_per_l,
            plt_1e9_per_l=plt_1e9_per_l,
            rdw_percent=assumed_rdw_percent(mcv_fl, mchc_g_per_l)
            if rdw_percent is None
            else rdw_percent,
        )


def assumed_rdw_percent(mcv_fl: float, mchc_g_per_l: float) -> float:
    """The RDW the simulation takes where none was measured, percent; see NORMAL_RDW_PERCENT."""
    small = max(0.0, 82.0 - mcv_fl)
    pale = max(0.0, 315.0 - mchc_g_per_l)
    low, high = RDW_RANGE_PERCENT
    return min(high, max(low, NORMAL_RDW_PERCENT + 0.15 * small + 0.04 * pale))


def read_panels(path: Path, *, consistent_only: bool = True) -> list[CBCPanel]:
    """The panels of a CSV in AneRBC's columns, in its order.

    With ``consistent_only`` rows whose printed indices contradict their own counts are left out
    (`MAX_INDEX_DISAGREEMENT`); rows lacking a count always are. Raises UsageError for a file that
    cannot be read or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            columns = set(reader.fieldnames or ())
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: cannot be read as a table of blood counts ({error})") from error
    missing = sorted(set(_CSV_COLUMNS.values()) - columns)
    if missing:
        raise UsageError(f"{path}: lacks the column {missing[0]}; expected {', '.join(missing)}")
    panels = []
    for row in rows:
        figures = {name: _number(row.get(column)) for name, column in _CSV_COLUMNS.items()}
        if any(not figure > 0 for figure in figures.values()):
            continue
        panel = CBCPanel(**figures)
        if consistent_only and not _consistent(panel, row):
            continue
        rdw = assumed_rdw_percent(panel.mcv_fl, panel.mchc_g_per_l)
        panels.append(CBCPanel(**figures, rdw_percent=rdw))
    return panels


def draw_panel(rng: np.random.Generator, *, hgb_g_per_l: float | None = None) -> CBCPanel:
    """Draw a panel that follows AneRBC's distribution, from the shipped figures alone.

    With ``hgb_g_per_l`` the panel has that haemoglobin and the rest follows given it. Raises
    UsageError for a haemoglobin outside the range the figures hold.
    """
    model = _shipped_copula()
    quantiles, factor, correlation = model.quantiles, model.factor, model.correlation
    given = None
    if hgb_g_per_l is not None:
        table = quantiles[0]
        if not table[0] <= hgb_g_per_l <= table[-1]:
            raise UsageError(
                f"a haemoglobin of {hgb_g_per_l:g} g/L cannot be simulated; "
                f"choose one from {table[0]:g} to {table[-1]:g}"
            )
        share = float(np.interp(hgb_g_per_l, table, model.levels))
        given = float(_normal_quantile(np.array([min(max(share, 1e-4), 1 - 1e-4)]))[0])
    while True:
        normal = factor @ rng.standard_normal(len(COPULA_VARIABLES))
        if given is not None:
            # Conditioning a Gaussian on its first component shifts the others linearly.
            normal = normal + correlation[:, 0] * (given - normal[0])
        share_of = _normal_share(normal)
        hgb, mcv, mchc, wbc, plt = (
            float(np.interp(share_of[i], model.levels, quantiles[i]))
            for i in range(len(COPULA_VARIABLES))
        )
        spread = float(np.exp(0.08 * rng.standard_normal()))
        rdw = min(RDW_RANGE_PERCENT[1], assumed_rdw_percent(mcv, mchc) * spread)
        panel = CBCPanel.from_indices(
            hgb_g_per_l=hgb if hgb_g_per_l is None else hgb_g_per_l,
            mcv_fl=mcv,
            mchc_g_per_l=mchc,
            wbc_1e9_per_l=wbc,
            plt_1e9_per_l=plt,
            rdw_percent=rdw,
        )
        if _plausible(panel):
            return panel


def fit_copula(panels: list[CBCPanel], *, rows_read: int) -> dict[str, Any]:
    """Quantile tables and normal-score correlation of panels, as `draw_panel`'s JSON holds them.

    The correlation is the Gaussian copula's: 2 sin(pi/6 x Spearman's rho). Raises UsageError for
    fewer than 50 panels.
    """
    if len(panels) < 50:
        raise UsageError(f"{len(panels)} consistent panels are too few to fit a copula; need 50")
    table = np.array([[getattr(panel, name) for name in COPULA_VARIABLES] for panel in panels])
    levels = np.array(QUANTILE_LEVELS)
    ranks = np.stack([_ranks(column) for column in table.T], axis=1)
    spearman = np.corrcoef(ranks, rowvar=False)
    correlation = _nearest_correlation(2.0 * np.sin(np.pi / 6.0 * spearman))
    return {
        "schema": COPULA_SCHEMA,
        "source": SOURCE,
        "rows_read": rows_read,
        "panels_used": len(panels),
        "variables": list(COPULA_VARIABLES),
        "levels": [round(level, 4) for level in QUANTILE_LEVELS],
        "quantiles": {
            name: [float(f"{value:.5g}") for value in np.quantile(table[:, i], levels)]
            for i, name in enumerate(COPULA_VARIABLES)
        },
        "correlation": [[round(float(value), 4) for value in row] for row in correlation],
    }


@dataclass(frozen=True, slots=True)
class _Copula:
    levels: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    correlation: NDArray[np.float64]
    factor: NDArray[np.float64]


@lru_cache(maxsize=1)
def _shipped_copula() -> _Copula:
    text = resources.files("edgehemo.simulation").joinpath(COPULA_FILE).read_text("utf-8")
    model = json.loads(text)
    quantiles = np.array([model["quantiles"][name] for name in COPULA_VARIABLES])
    correlation = np.array(model["correlation"])
    return _Copula(
        levels=np.array(model["levels"]),
        quantiles=quantiles,
        correlation=correlation,
        factor=np.linalg.cholesky(correlation),
    )


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


def _consistent(panel: CBCPanel, row: dict[str, str]) -> bool:
    printed_mcv, printed_mch = _number(row.get("mcv_fl")), _number(row.get("mch_pg"))
    # `not <=` so that a missing index (NaN) counts as a disagreement.
    if not abs(panel.mcv_fl / printed_mcv - 1) <= MAX_INDEX_DISAGREEMENT:
        return False
    if not abs(panel.mch_pg / printed_mch - 1) <= MAX_INDEX_DISAGREEMENT:
        return False
    return MCHC_RANGE_G_PER_L[0] <= panel.mchc_g_per_l <= MCHC_RANGE_G_PER_L[1]


def _plausible(panel: CBCPanel) -> bool:
    return (
        RBC_RANGE_1E12_PER_L[0] <= panel.rbc_1e12_per_l <= RBC_RANGE_1E12_PER_L[1]
        and HCT_RANGE_L_PER_L[0] <= panel.hct_l_per_l <= HCT_RANGE_L_PER_L[1]
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2.0)[inverse], dtype=np.float64)


def _nearest_correlation(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix with its eigenvalues lifted to at least 0.001 and its diagonal back at 1."""
    values, vectors = np.linalg.eigh(matrix)
    lifted = (vectors * np.maximum(values, 1e-3)) @ vectors.T
    scale = 1.0 / np.sqrt(np.diag(lifted))
    return np.asarray(lifted * scale[:, None] * scale[None, :], dtype=np.float64)


def _normal_share(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([0.5 * (1.0 + math.erf(value / math.sqrt(2.0))) for value in values])


def _normal_quantile(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    standard = NormalDist()
    return np.array([standard.inv_cdf(float(share)) for share in shares])


def main(arguments: list[str]) -> int:
    """Fit the copula on the CSV named by the only argument and write the shipped JSON."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m edgehemo.simulation.panels PANELS.csv\n")
        return 2
    path = Path(arguments[0])
    try:
        rows_read = max(0, len(path.read_text("utf-8").splitlines()) - 1)
        model = fit_copula(read_panels(path), rows_read=rows_read)
    except (UsageError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    target = Path(__file__).with_name(COPULA_FILE)
    write_json_atomically(target, model)
    sys.stdout.write(f"{target.name}: {model['panels_used']} of {rows_read} panels\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
