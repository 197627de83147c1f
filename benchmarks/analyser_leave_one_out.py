"""Screen each analyser-measured sample with a profile fitted on the others, end to end.

``python benchmarks/analyser_leave_one_out.py DATA/anerbc [FOLDER]``: for every pair the analyser
calibration is fitted on the samples of other blood counts, written as a profile, and the sample is
screened with it as a user would. With a handful of pairs this demonstrates the procedure; it is no
claim of accuracy.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import edgehemo
from edgehemo.device.equipment import open_equipment
from edgehemo.measurands import MEASURANDS
from edgehemo.profile.profile import new_profile, save_profile
from edgehemo.report.result import ScreeningResult
from edgehemo.screening.field import FieldReader
from edgehemo_calibration.analyser.fit import AnalyserSample, fit_analyser
from edgehemo_calibration.analyser.pairs import read_pairs
from edgehemo_calibration.measuring import measure_image, samples_of

# Below what `edgehemo calibrate analyser` accepts: leaving one out of eight leaves six or seven.
MIN_SAMPLES = 6


def main(root: Path, out: Path) -> None:
    """Print reference and estimate of every sample, and the mean absolute errors."""
    pairs = read_pairs(root / "pairs.csv", root / "images")
    equipment = open_equipment(None, None)
    reader = FieldReader(
        equipment.finder,
        networks=equipment.open_networks(("field_estimator",)),
        envelope=equipment.envelope,
    )
    measured = {
        image: measure_image(image, pair.name, reader) for pair in pairs for image in pair.images
    }
    samples, refused = samples_of(pairs, measured)
    for name in refused:
        print(f"{name}: refused by quality")
    out.mkdir(parents=True, exist_ok=True)
    errors: dict[str, list[float]] = {name: [] for name in MEASURANDS}
    inside: dict[str, int] = dict.fromkeys(MEASURANDS, 0)
    for sample in samples:
        others = [other for other in samples if other.panel != sample.panel]
        made = datetime.now(UTC)
        fit = fit_analyser(
            others,
            made_at=made,
            bundle_sha256=equipment.bundle.digest,
            min_samples=MIN_SAMPLES,
        )
        profile = new_profile(made, software_version=edgehemo.__version__).model_copy(
            update={"analyser": fit.calibration}
        )
        path = out / f"{Path(sample.name).stem}.json"
        save_profile(profile, path)
        images = [image for pair in pairs if pair.name == sample.name for image in pair.images]
        result = edgehemo.screen(images, out / Path(sample.name).stem, profile=path)
        print(sample.name, *row(sample, result, errors, inside), sep="  ")
    for name in MEASURANDS:
        found = np.array(errors[name])
        if len(found):
            print(
                f"{name}: mean absolute error {np.abs(found).mean():.4g} on {len(found)} samples, "
                f"{inside[name]} inside their 95 % interval"
            )


def row(
    sample: AnalyserSample,
    result: ScreeningResult,
    errors: dict[str, list[float]],
    inside: dict[str, int],
) -> list[str]:
    """One line of the table; adds to the errors and to what lay inside its interval."""
    estimate = result.reading.estimate
    cells: list[str] = []
    for name in MEASURANDS:
        wanted = sample.reference[name]
        got = getattr(estimate, name) if estimate is not None else None
        if estimate is None or got is None:
            cells.append(f"{name} {wanted:g}: withheld")
            continue
        errors[name].append(got.value - wanted)
        inside[name] += got.low <= wanted <= got.high
        chosen = estimate.estimators[name]
        cells.append(
            f"{name} {wanted:g}: {got.value:.4g} ({got.low:.4g} to {got.high:.4g}, {chosen})"
        )
    return cells


if __name__ == "__main__":
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())
    main(Path(sys.argv[1]), folder)
