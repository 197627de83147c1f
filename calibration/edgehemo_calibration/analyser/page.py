"""The page of an analyser calibration: what was tried, how the methods agree, every sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgehemo.measurands import MEASURAND_FACTS
from edgehemo.pages.environment import page_environment
from edgehemo.pages.plots import Plot, widened
from edgehemo.profile.analyser import ComparisonLine, MeasurandCalibration
from edgehemo_calibration.analyser.fit import AnalyserFit, Point

Row = tuple[str, ...]

_INSIDE, _OUTLIER, _LINE, _BAND = "#1f5f99", "#b3202c", "#5b6675", "#e8eef5"
_COMPARISON = (("Deming", "deming", "#2f7d4f"), ("Passing-Bablok", "passing_bablok", "#b06a00"))


def analyser_page(fit: AnalyserFit) -> str:
    """The calibration as an HTML page with plots. It names samples: keep it where they may be."""
    calibration = fit.calibration
    sections = [
        _section(item, [point for point in fit.points if point.measurand == item.measurand])
        for item in calibration.measurands
    ]
    return (
        page_environment("edgehemo_calibration.analyser")
        .get_template("analyser.html.j2")
        .render(
            calibration=calibration,
            sections=sections,
            refused=[(MEASURAND_FACTS[name].name, reason) for name, reason in fit.refused.items()],
        )
    )


def _section(calibration: MeasurandCalibration, points: Sequence[Point]) -> dict[str, Any]:
    """What the template shows of one measurand."""
    facts = MEASURAND_FACTS[calibration.measurand]
    name, unit = facts.name, facts.unit
    return {
        "name": name,
        "unit": unit,
        "estimator": calibration.estimator,
        "plots": [
            _agreement_plot(calibration, points, name, unit),
            _difference_plot(calibration, points, name, unit),
        ],
        "figures": _figures(calibration, sum(point.outlier for point in points)),
        "candidates": _candidates(calibration),
        "samples": _samples(calibration, points),
    }


def _agreement_plot(
    calibration: MeasurandCalibration, points: Sequence[Point], name: str, unit: str
) -> str:
    ends = [
        value
        for point in points
        for value in (point.analyser, point.estimate, point.low, point.high)
        if value is not None
    ]
    shown = widened(ends)
    plot = Plot(
        f"{name}: left-out estimate against analyser",
        f"analyser, {unit}",
        f"estimate, {unit}",
        shown,
        shown,
    )
    plot.line((shown[0], shown[0]), (shown[1], shown[1]), _LINE, dashed=True)
    for _, attribute, colour in _COMPARISON:
        line: ComparisonLine | None = getattr(calibration, attribute)
        if line is not None:
            plot.line(
                (shown[0], line.intercept + line.slope * shown[0]),
                (shown[1], line.intercept + line.slope * shown[1]),
                colour,
            )
    for point in points:
        colour = _OUTLIER if point.outlier else _INSIDE
        if point.low is not None and point.high is not None:
            plot.line((point.analyser, point.low), (point.analyser, point.high), "#9fb4c8")
        plot.point(
            point.analyser,
            point.estimate,
            colour,
            f"{point.sample}: analyser {point.analyser:g}, estimate "
            f"{_number(calibration, point.estimate)}",
            "square" if point.outlier else "circle",
        )
    return plot.svg()


def _difference_plot(
    calibration: MeasurandCalibration, points: Sequence[Point], name: str, unit: str
) -> str:
    agreement = calibration.agreement
    means = [(point.analyser + point.estimate) / 2 for point in points]
    differences = [point.estimate - point.analyser for point in points]
    plot = Plot(
        f"{name}: Bland-Altman",
        f"mean of both, {unit}",
        f"estimate minus analyser, {unit}",
        widened(means),
        widened(
            [*differences, agreement.lower_limit_low, agreement.upper_limit_high, 0.0], share=0.1
        ),
    )
    for low, high in (
        (agreement.lower_limit_low, agreement.lower_limit_high),
        (agreement.bias_low, agreement.bias_high),
        (agreement.upper_limit_low, agreement.upper_limit_high),
    ):
        plot.band(low, high, _BAND)
    plot.level(0.0, "#c3ccd6", dashed=True)
    for value, label in (
        (agreement.upper_limit, "upper limit"),
        (agreement.bias, "bias"),
        (agreement.lower_limit, "lower limit"),
    ):
        plot.level(value, _LINE, f"{label} {_number(calibration, value)}")
    for point, mean, difference in zip(points, means, differences, strict=True):
        plot.point(
            mean,
            difference,
            _OUTLIER if point.outlier else _INSIDE,
            f"{point.sample}: {difference:+.{MEASURAND_FACTS[calibration.measurand].decimals}f}",
            "square" if point.outlier else "circle",
        )
    return plot.svg()


def _figures(calibration: MeasurandCalibration, outliers: int) -> list[Row]:
    agreement = calibration.agreement

    def number(value: float | None) -> str:
        return _number(calibration, value)

    def interval(low: float | None, high: float | None) -> str:
        return "" if low is None or high is None else f"{number(low)} to {number(high)}"

    rows: list[Row] = [
        ("bias", number(agreement.bias), interval(agreement.bias_low, agreement.bias_high)),
        (
            "lower limit of agreement",
            number(agreement.lower_limit),
            interval(agreement.lower_limit_low, agreement.lower_limit_high),
        ),
        (
            "upper limit of agreement",
            number(agreement.upper_limit),
            interval(agreement.upper_limit_low, agreement.upper_limit_high),
        ),
    ]
    for label, attribute, _ in _COMPARISON:
        line: ComparisonLine | None = getattr(calibration, attribute)
        if line is None:
            continue
        slopes = (
            ""
            if line.slope_low is None or line.slope_high is None
            else f"{line.slope_low:.3f} to {line.slope_high:.3f}"
        )
        rows.append((f"{label} slope", f"{line.slope:.3f}", slopes))
        rows.append(
            (
                f"{label} intercept",
                number(line.intercept),
                interval(line.intercept_low, line.intercept_high),
            )
        )
    rows.append(("mean absolute error, choice inside the loop", number(calibration.nested_mae), ""))
    rows.append(("the same of saying the mean", number(calibration.mean_only_mae), ""))
    if calibration.nested_pcc is not None:
        rows.append(("correlation", f"{calibration.nested_pcc:.3f}", ""))
    if calibration.intervals_holding is not None:
        held = f"{calibration.intervals_holding} of {calibration.samples}"
        rows.append(("95 % prediction intervals that hold", held, ""))
    rows.append(("outliers, shown and kept", str(outliers), ""))
    return rows


def _candidates(calibration: MeasurandCalibration) -> list[Row]:
    return [
        (
            candidate.estimator,
            " + ".join(candidate.features),
            _number(calibration, candidate.loo_mae),
            _number(calibration, candidate.loo_rmse),
            "chosen" if candidate.estimator == calibration.estimator else candidate.reason,
        )
        for candidate in calibration.candidates
    ]


def _samples(calibration: MeasurandCalibration, points: Sequence[Point]) -> list[Row]:
    rows: list[Row] = []
    for point in sorted(points, key=lambda item: item.analyser):
        known = point.low is not None and point.high is not None
        low, high = _number(calibration, point.low), _number(calibration, point.high)
        rows.append(
            (
                point.sample,
                f"{point.analyser:g}",
                _number(calibration, point.estimate),
                f"{low} to {high}" if known else "",
                "outlier" if point.outlier else "",
            )
        )
    return rows


def _number(calibration: MeasurandCalibration, value: float | None) -> str:
    return MEASURAND_FACTS[calibration.measurand].stored(value)
