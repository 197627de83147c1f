"""The networks that read whole fields: the field estimator and the anaemia screen.

Both see tiles of a field, and each costs more than finding and naming its cells: a network is
opened and run only where somebody asks for what it gives. Where the screen is a head on the
estimator's features, one graph answers for both, and runs once. The estimator's tiles are averaged
into nominal contents, which mean nothing in g/L before an analyser calibration; the screen's into
log odds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from edgehemo.bundle.manifest import DEFAULT_FORMAT
from edgehemo.errors import BundleError
from edgehemo.field.canonical import CANONICAL_UM_PER_PX, CanonicalField
from edgehemo.field.tiles import TILE_PX, tiles_of_field
from edgehemo.inference import open_model
from edgehemo.quality.envelope import envelope_check, envelope_features
from edgehemo.quality.regions import field_regions

if TYPE_CHECKING:
    from edgehemo.bundle.bundle import Bundle
    from edgehemo.bundle.manifest import (
        ArtefactFormat,
        KindOperatingPoint,
        ModelEntry,
        ModelTask,
        Precision,
    )
    from edgehemo.inference import Runner

NetworkTask = Literal["field_estimator", "anaemia_screen"]
NETWORK_TASKS: tuple[NetworkTask, ...] = get_args(NetworkTask)
# What the field estimator answers for a tile, in this order: nominal HGB g/L, HCT L/L and RBC
# 10^12/L, and their variances in the squares of those units.
NOMINAL_OUTPUTS = ("hgb", "hct", "rbc")
VARIANCE_OUTPUTS = ("hgb_variance", "hct_variance", "rbc_variance")
ESTIMATOR_OUTPUTS = (*NOMINAL_OUTPUTS, *VARIANCE_OUTPUTS)
# The screen's second class, whose log odds are kept as a field's model output of this name.
ANAEMIA_CLASS = "anaemia-like"
ANAEMIA_LOG_ODDS = "anaemia_log_odds"
# A tile's odds are never believed beyond this.
_MAX_LOG_ODDS = 8.0


@dataclass(frozen=True, slots=True)
class FieldNetwork:
    """One network with the envelope of the fields it was trained on, None where it has none.

    first: where its values begin in the graph's answer. Networks of one runner are one graph.
    """

    runner: Runner
    envelope: Mapping[str, Any] | None
    first: int = 0


@dataclass(frozen=True, slots=True)
class FieldNetworks:
    """Those of them that were asked for; make one with `open_field_networks`.

    screen_point: how the screen's log odds of a sample become a probability. missing: what was
    asked for and the bundle does not hold.
    """

    estimator: FieldNetwork | None = None
    screen: FieldNetwork | None = None
    screen_point: KindOperatingPoint | None = None
    missing: tuple[NetworkTask, ...] = ()

    @property
    def asked(self) -> tuple[NetworkTask, ...]:
        """What was asked for, held or not: who reads a sample again asks for the same."""
        held = {"field_estimator": self.estimator, "anaemia_screen": self.screen}
        return tuple(t for t in NETWORK_TASKS if held[t] is not None or t in self.missing)

    def measure(self, field: CanonicalField) -> dict[str, float]:
        """`FieldIndices.model` of a field: by name, only of networks whose envelope holds it."""
        if self.estimator is None and self.screen is None:
            return {}
        features = envelope_features(field_regions(field), field.illumination)
        return self.of_tiles(((tile.codes, tile.share) for tile in tiles_of_field(field)), features)

    def of_tiles(
        self,
        tiles: Iterable[tuple[NDArray[np.uint8], float]],
        features: NDArray[np.float64],
    ) -> dict[str, float]:
        """The same from a field's tiles, each with the share of it that shows smear, and its
        `ENVELOPE_FEATURES`.

        The estimator's outputs are means over the tiles, each over the share that shows smear; the
        variances are those of a tile, not of the mean: tiles of one field err together.
        """
        estimator = _inside(self.estimator, features)
        screen = _inside(self.screen, features)
        if estimator is None and screen is None:
            return {}
        weight = odds = 0.0
        nominal = np.zeros(len(ESTIMATOR_OUTPUTS))
        runners = {id(n.runner): n.runner for n in (estimator, screen) if n is not None}
        for codes, share in tiles:
            weight += share
            answers = {key: runner.run(codes)[0] for key, runner in runners.items()}
            if estimator is not None:
                whole = answers[id(estimator.runner)][estimator.first :]
                answer = whole[: len(ESTIMATOR_OUTPUTS)].astype(np.float64)
                # A clear part adds nothing to the content of the whole tile.
                answer[: len(NOMINAL_OUTPUTS)] /= share
                nominal += share * answer
            if screen is not None:
                probability = answers[id(screen.runner)][screen.first + 1]
                odds += share * log_odds(float(probability))
        if weight <= 0:
            return {}
        out: dict[str, float] = {}
        if estimator is not None:
            out |= dict(zip(ESTIMATOR_OUTPUTS, (nominal / weight).tolist(), strict=True))
        if screen is not None:
            out[ANAEMIA_LOG_ODDS] = odds / weight
        return out


def _inside(network: FieldNetwork | None, features: NDArray[np.float64]) -> FieldNetwork | None:
    """The network, where it was trained on fields like this one."""
    if network is None or network.envelope is None:
        return network
    return None if envelope_check(features, network.envelope).verdict == "fail" else network


def log_odds(probability: float) -> float:
    """Logit, bounded."""
    bounded = min(max(probability, 1e-6), 1 - 1e-6)
    return min(_MAX_LOG_ODDS, max(-_MAX_LOG_ODDS, math.log(bounded / (1 - bounded))))


def open_field_networks(
    bundle: Bundle,
    tasks: tuple[NetworkTask, ...],
    *,
    threads: int,
    runtime: ArtefactFormat = DEFAULT_FORMAT,
    precision: Precision | None = None,
) -> FieldNetworks | None:
    """Open those of ``tasks`` that the bundle holds; None where nothing is asked for.

    The files of the others are not even looked at. Raises BundleError where one is for something
    else than canonical tiles.
    """
    asked = [task for task in NETWORK_TASKS if task in tasks]
    if not asked:
        return None
    opened: dict[NetworkTask, FieldNetwork] = {}
    runners: dict[ModelTask, Runner] = {}
    for task in asked:
        if bundle.has(task):
            _refuse_unreadable(bundle.model(task), task)
            owner, first, _ = bundle.graph(task)
            if owner.task not in runners:
                _, runners[owner.task] = open_model(
                    bundle, task, threads=threads, runtime=runtime, precision=precision
                )
            opened[task] = FieldNetwork(runners[owner.task], bundle.envelope(task), first)
    point = None
    if "anaemia_screen" in opened:
        point = bundle.model("anaemia_screen").operating_points.get(ANAEMIA_CLASS)
    return FieldNetworks(
        opened.get("field_estimator"),
        opened.get("anaemia_screen"),
        point,
        missing=tuple(task for task in asked if task not in opened),
    )


def _refuse_unreadable(entry: ModelEntry, task: NetworkTask) -> None:
    """BundleError where a model is for something else than canonical tiles, or answers else."""
    spec = entry.input
    wanted = list(ESTIMATOR_OUTPUTS) if task == "field_estimator" else None
    if (
        (spec.height_px, spec.width_px) != (TILE_PX, TILE_PX)
        or spec.um_per_px is None
        or not math.isclose(spec.um_per_px, CANONICAL_UM_PER_PX)
        or (wanted is not None and entry.classes != wanted)
        or (wanted is None and (len(entry.classes) != 2 or entry.classes[1] != ANAEMIA_CLASS))
    ):
        raise BundleError(
            f"{entry.name}: this software reads {task} models of {TILE_PX} px tiles at "
            f"{CANONICAL_UM_PER_PX} um/px, and this one is different; export the bundle again"
        )
