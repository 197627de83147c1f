"""What a technician reads on the terminal after an analyser calibration."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from edgehemo.measurands import MEASURAND_FACTS
from edgehemo.profile.analyser import ComparisonLine, MeasurandCalibration
from edgehemo_calibration.analyser.fit import AnalyserFit


def print_fit(fit: AnalyserFit, console: Console) -> None:
    """Per measurand: the candidates, the honest error, Bland-Altman, outliers."""
    for calibration in fit.calibration.measurands:
        console.print(_candidates(calibration))
        for line in _figures(calibration):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        for point in fit.points:
            if point.measurand == calibration.measurand and point.outlier:
                console.print(
                    f"  outlier kept: {point.sample}: analyser {point.analyser:g}, "
                    f"estimate {_number(calibration, point.estimate)}",
                    highlight=False,
                    markup=False,
                )
        console.print()
    for measurand, reason in fit.refused.items():
        name = MEASURAND_FACTS[measurand].name
        console.print(f"{name}: not calibrated: {reason}", highlight=False, markup=False)


def _candidates(calibration: MeasurandCalibration) -> Table:
    facts = MEASURAND_FACTS[calibration.measurand]
    table = Table(title=f"{facts.name}, {facts.unit}: leave-one-out error", title_justify="left")
    table.add_column("estimator")
    table.add_column("features")
    table.add_column("mean absolute", justify="right")
    table.add_column("root mean square", justify="right")
    table.add_column("")
    for candidate in calibration.candidates:
        chosen = candidate.estimator == calibration.estimator
        table.add_row(
            candidate.estimator,
            " + ".join(candidate.features),
            _number(calibration, candidate.loo_mae),
            _number(calibration, candidate.loo_rmse),
            "chosen" if chosen else candidate.reason,
            style="bold" if chosen else None,
        )
    return table


def _figures(calibration: MeasurandCalibration) -> list[str]:
    agreement = calibration.agreement

    def number(value: float | None) -> str:
        return _number(calibration, value)

    lines = [
        f"  {calibration.samples} samples, {calibration.groups} different results, "
        f"{number(calibration.value_low)} to {number(calibration.value_high)}",
        f"  error with the choice inside the loop: {number(calibration.nested_mae)} "
        f"(saying the mean: {number(calibration.mean_only_mae)})"
        + (f", correlation {calibration.nested_pcc:.3f}" if calibration.nested_pcc else ""),
        f"  Bland-Altman: bias {number(agreement.bias)} "
        f"({number(agreement.bias_low)} to {number(agreement.bias_high)}), limits of agreement "
        f"{number(agreement.lower_limit)} ({number(agreement.lower_limit_low)} to "
        f"{number(agreement.lower_limit_high)}) and {number(agreement.upper_limit)} "
        f"({number(agreement.upper_limit_low)} to {number(agreement.upper_limit_high)})",
    ]
    if calibration.intervals_holding is not None:
        lines.append(
            f"  95 % intervals made without the sample hold {calibration.intervals_holding} of "
            f"{calibration.samples}"
        )
    for title, line in (
        ("Deming", calibration.deming),
        ("Passing-Bablok", calibration.passing_bablok),
    ):
        if line is not None:
            lines.append(f"  {title}: {_slope(line)}, {_intercept(line, calibration)}")
    return lines


def _slope(line: ComparisonLine) -> str:
    text = f"slope {line.slope:.2f}"
    if line.slope_low is None or line.slope_high is None:
        return text
    return f"{text} ({line.slope_low:.2f} to {line.slope_high:.2f})"


def _intercept(line: ComparisonLine, calibration: MeasurandCalibration) -> str:
    text = f"intercept {_number(calibration, line.intercept)}"
    if line.intercept_low is None or line.intercept_high is None:
        return text
    low, high = (_number(calibration, v) for v in (line.intercept_low, line.intercept_high))
    return f"{text} ({low} to {high})"


def _number(calibration: MeasurandCalibration, value: float | None) -> str:
    return MEASURAND_FACTS[calibration.measurand].stored(value)
