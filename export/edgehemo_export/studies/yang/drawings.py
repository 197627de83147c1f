"""The study's drawings. Each says SIMULATED in its title where its fields are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from edgehemo.field.canonical import UINT8_PER_TRANSMITTANCE
from edgehemo.measurands import MEASURAND_FACTS, Measurand
from edgehemo.profile.analyser import Agreement
from edgehemo_export.evaluation.statistics import EvaluationFigure
from edgehemo_export.studies.figures import COLOURS, axes_of, new_figure
from edgehemo_export.studies.yang.agreement import BIAS, MAE, Answers, Band
from edgehemo_export.studies.yang.analysis import Analysis, MeasurandAnalysis
from edgehemo_export.studies.yang.density import MARGIN, DensityTest, relative
from edgehemo_export.studies.yang.folding import NETWORK
from edgehemo_export.studies.yang.patients import Row

WIDE, TALL = 3.1, 2.9
SIMULATED = "SIMULATED"


def tagged(title: str, simulated: bool) -> str:
    """A title with the word that must stand in every figure on drawn fields."""
    return f"{SIMULATED}: {title}" if simulated else title


def _axes(count: int, height: float = TALL) -> tuple[Figure, list[Axes]]:
    figure = new_figure(WIDE * count, height)
    return figure, list(axes_of(figure, 1, count)[0])


def unit_of(measurand: Measurand) -> str:
    """A measurand with its unit, as axes and tables name it."""
    facts = MEASURAND_FACTS[measurand]
    return f"{facts.name}, {facts.typeset_unit}"


def scatter(analyses: Mapping[Measurand, MeasurandAnalysis], title: str) -> Figure:
    """The network's answer over the analyser's value, a patient a dot."""
    figure, axes = _axes(len(analyses))
    for place, (measurand, own) in zip(axes, analyses.items(), strict=True):
        _scatter(place, own.answers[NETWORK])
        place.set(xlabel=f"analyser: {unit_of(measurand)}", ylabel="network")
    figure.suptitle(title, fontsize=10)
    return figure


def _scatter(place: Axes, answers: Answers, colour: str = COLOURS[0], label: str = "") -> None:
    ends = [float(answers.truth.min()), float(answers.truth.max())]
    place.plot(ends, ends, color="0.6", linewidth=1)
    place.scatter(
        answers.truth, answers.mean, s=11, color=colour, alpha=0.7, linewidths=0, label=label
    )


def bland_altman_figure(analyses: Mapping[Measurand, MeasurandAnalysis], title: str) -> Figure:
    """Difference over the mean of both, with bias and limits and the intervals of all three."""
    figure, axes = _axes(len(analyses))
    for place, (measurand, own) in zip(axes, analyses.items(), strict=True):
        answers, agreement = own.answers[NETWORK], own.agreement
        place.scatter(
            (answers.mean + answers.truth) / 2,
            answers.mean - answers.truth,
            s=11,
            color=COLOURS[0],
            alpha=0.7,
            linewidths=0,
        )
        _limits(place, agreement)
        place.set(xlabel=f"mean of both: {unit_of(measurand)}", ylabel="network less analyser")
    figure.suptitle(title, fontsize=10)
    return figure


def _limits(place: Axes, agreement: Agreement) -> None:
    for value, low, high, style in (
        (agreement.bias, agreement.bias_low, agreement.bias_high, "-"),
        (
            agreement.lower_limit,
            agreement.lower_limit_low,
            agreement.lower_limit_high,
            "--",
        ),
        (
            agreement.upper_limit,
            agreement.upper_limit_low,
            agreement.upper_limit_high,
            "--",
        ),
    ):
        place.axhspan(low, high, color=COLOURS[1], alpha=0.15, linewidth=0)
        place.axhline(value, color=COLOURS[1], linewidth=1.1, linestyle=style)


_DIGITS: Mapping[Measurand, int] = {
    "hgb_g_per_l": 0,
    "hct_l_per_l": 2,
    "rbc_1e12_per_l": 1,
}


def short_name(band: Band, measurand: Measurand) -> str:
    """Such as ``80-110``, for an axis."""
    text = band_name(band, measurand).replace(" to ", "-").replace("below ", "<")
    return f"≥{text.removesuffix(' and more')}" if text.endswith(" and more") else text


def band_name(band: Band, measurand: Measurand) -> str:
    """Such as ``80 to 110``."""
    digits = _DIGITS[measurand]
    if band.low is None and band.high is None:
        return "all"
    if band.low is None:
        return f"below {band.high:.{digits}f}"
    if band.high is None:
        return f"{band.low:.{digits}f} and more"
    return f"{band.low:.{digits}f} to {band.high:.{digits}f}"


def concentration_figure(analyses: Mapping[Measurand, MeasurandAnalysis], title: str) -> Figure:
    """Bias and mean absolute error in each band of concentration."""
    figure, axes = _axes(len(analyses))
    for place, (measurand, own) in zip(axes, analyses.items(), strict=True):
        x = np.arange(len(own.bands), dtype=np.float64)
        place.axhline(0, color="0.6", linewidth=1)
        for name, shift, colour in ((BIAS, -0.08, COLOURS[1]), (MAE, 0.08, COLOURS[0])):
            _bars(place, x + shift, [band.figures[name] for band in own.bands], colour, name)
        place.set_xticks(x, [short_name(band, measurand) for band in own.bands], fontsize=7)
        place.set(xlabel=f"analyser: {unit_of(measurand)}", ylabel="error")
        place.legend(fontsize=7.5)
    figure.suptitle(title, fontsize=10)
    return figure


def _bars(
    place: Axes,
    x: NDArray[np.float64],
    found: Sequence[EvaluationFigure],
    colour: str,
    label: str,
) -> None:
    for at, figure in zip(x, found, strict=True):
        if figure.low is not None and figure.high is not None:
            place.plot([at, at], [figure.low, figure.high], color=colour, linewidth=1.6)
    place.plot(x, [figure.value for figure in found], "o", color=colour, markersize=4, label=label)


def density_figure(analysis: Analysis, title: str) -> Figure:
    """Within patients: the answer's change over the density's, with the line of elasticity, the
    line of an answer that only counts (1), and the margin.
    """
    found = analysis.densities
    figure, axes = _axes(len(analysis.internal))
    for place, (measurand, own) in zip(axes, analysis.internal.items(), strict=True):
        test = own.density[NETWORK]
        y = relative(analysis.fields[NETWORK][measurand].of(found.kept), found)
        place.axhspan(-MARGIN, MARGIN, color=COLOURS[2], alpha=0.15, linewidth=0)
        place.scatter(found.x, y, s=7, color=COLOURS[0], alpha=0.45, linewidths=0)
        ends = np.array([found.x.min(), found.x.max()])
        place.plot(ends, ends * test.elasticity.value, color=COLOURS[1], linewidth=1.4)
        place.plot(ends, ends, color="0.5", linewidth=1, linestyle=":")
        place.set(
            xlabel="ln of cover over the patient's mean",
            ylabel="change of the answer, share of value",
        )
        place.set_title(
            f"{MEASURAND_FACTS[measurand].name}: elasticity {test.elasticity.value:.2f}",
            fontsize=9,
        )
        height = max(0.1, float(np.quantile(np.abs(y), 0.995)) * 1.15)
        place.set_ylim(-height, height)
    figure.suptitle(title, fontsize=10)
    return figure


def thirds_figure(tests: Mapping[Measurand, DensityTest], title: str) -> Figure:
    """Error of single fields in the thinnest, the middle and the thickest third."""
    figure, axes = _axes(len(tests), 2.6)
    for place, (measurand, test) in zip(axes, tests.items(), strict=True):
        x = np.arange(len(test.thirds), dtype=np.float64)
        place.axhline(0, color="0.6", linewidth=1)
        for name, shift, colour in ((BIAS, -0.08, COLOURS[1]), (MAE, 0.08, COLOURS[0])):
            _bars(place, x + shift, [third[name] for third in test.thirds], colour, name)
        place.set_xticks(x, ("thinnest", "middle", "thickest")[: len(x)])
        place.set(xlabel="third of the fields", ylabel=unit_of(measurand))
        place.legend(fontsize=7.5)
    figure.suptitle(title, fontsize=10)
    return figure


def external_figure(analysis: Analysis, name: str, methods: Sequence[str], title: str) -> Figure:
    """Answers to another source over the analyser's values, raw and through its own line."""
    measurands = analysis.external[name]
    figure, axes = _axes(len(measurands))
    for place, (measurand, own) in zip(axes, measurands.items(), strict=True):
        for index, method in enumerate(methods):
            if method in own.answers:
                _scatter(place, own.answers[method], COLOURS[index], method)
        place.set(xlabel=f"analyser: {unit_of(measurand)}", ylabel="answer")
    axes[0].legend(fontsize=6.5, loc="best")
    figure.suptitle(title, fontsize=10)
    return figure


def losses_figure(
    losses: Mapping[int, Sequence[Mapping[str, Sequence[float]]]], title: str
) -> Figure:
    """The training loss of each fold's network."""
    figure = new_figure(4.8, 2.9)
    place = axes_of(figure)[0, 0]
    for index, (seed, curves) in enumerate(losses.items()):
        for fold, curve in enumerate(curves):
            place.plot(
                curve["step"],
                curve["loss"],
                color=COLOURS[index % len(COLOURS)],
                linewidth=0.8,
                marker=".",
                markersize=3,
                label=f"seed {seed}" if fold == 0 else None,
            )
    place.set(xlabel="step", ylabel="mean squared error, spreads²")
    place.set_title(title, fontsize=10)
    place.set_ylim(bottom=0)
    place.legend(fontsize=7.5)
    return figure


def pictures_figure(rows: Sequence[Row], captions: Sequence[str], title: str) -> Figure:
    """Fields as the network sees them."""
    figure, axes = _axes(len(rows), 2.6)
    for place, row, caption in zip(axes, rows, captions, strict=True):
        side = min(row.field.codes.shape[:2])
        shown = row.field.codes[:side, :side].astype(np.float32) / UINT8_PER_TRANSMITTANCE
        place.imshow(np.clip(shown, 0, 1), interpolation="nearest")
        place.set_title(caption, fontsize=8)
        place.set_axis_off()
    figure.suptitle(title, fontsize=10)
    return figure
