"""One run of a study: its configuration, its parts, and what is written at the end.

A run that was stopped goes on where it was when it is called again with the same folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import platform
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from edgehemo.bench.stages import machine
from edgehemo.errors import UsageError
from edgehemo.files.atomic import (
    dump_json,
    write_bytes_atomically,
    write_json_atomically,
    write_text_atomically,
)
from edgehemo.files.lock import locked
from edgehemo.version import __version__
from edgehemo_export.configuration import CONFIGS, configuration_from, merged
from edgehemo_export.studies.figures import png_and_svg
from edgehemo_export.studies.output import (
    ComparisonOutput,
    MeasureOutput,
    PaperOutput,
    PartOutput,
    RunOutput,
    StudyOutput,
    UsedDataOutput,
)
from edgehemo_export.studies.page import study_page
from edgehemo_export.studies.parts import DonePart, PartStore, UsedData
from edgehemo_export.studies.study import (
    ConfigT,
    Measure,
    Prediction,
    Study,
    StudyConfiguration,
    StudyContext,
    StudyResult,
)
from edgehemo_export.training.arithmetic import flushed_denormals

METRICS, PREDICTIONS, PAGE = "metrics.json", "predictions.csv", "index.html"
CONFIGURATION, FIGURES = "configuration.toml", "figures"
QUICK = "quick"
SIGNIFICANT_DIGITS = 6
# Of predictions.csv, before the scores.
PREDICTION_COLUMNS = (
    "part",
    "method",
    "seed",
    "fold",
    "picture",
    "group",
    "source",
    "target",
    "truth",
    "predicted",
)
LIBRARIES = ("torch", "torchvision", "scikit-learn", "scipy", "numpy", "opencv-python-headless")

# Expected seconds done so far of all, and what is being done.
Progress = Callable[[float, str], None]


def shipped_configuration(name: str) -> Path:
    """The configuration file of a study."""
    return CONFIGS / f"study_{name}.toml"


def read_study_configuration(
    study: Study[ConfigT], override: Path | None = None, *, quick: bool = False
) -> ConfigT:
    """The shipped configuration, overridden by a TOML file, then, if quick, by its own ``[quick]``.

    An own file may have a ``[quick]`` table, too. Raises UsageError naming every problem at once.
    """
    values = tomllib.loads(shipped_configuration(study.name).read_text(encoding="utf-8"))
    if override is not None:
        try:
            own = tomllib.loads(override.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"{override}: not a readable TOML configuration ({error})") from error
        values = merged(values, own)
    cut = values.pop(QUICK, {})
    return configuration_from(study.configuration, merged(values, cut) if quick else values)


def expected_seconds(study: Study[Any], configuration: StudyConfiguration) -> float:
    """What the parts of a study take on the machine that they were timed on."""
    return sum(part.seconds for part in study.plan(configuration))


def run_study(
    study: Study[Any],
    data: Path,
    out: Path,
    configuration: StudyConfiguration,
    *,
    quick: bool,
    progress: Progress = lambda seconds, doing: None,
) -> StudyOutput:
    """Run a study, or the rest of it, and write what it found below ``out``.

    Raises UsageError where the data have not the study's shape, or where ``out`` holds the other
    of a quick and a full run.
    """
    with locked(out / "study", UsageError):
        _check_folder(out, study, quick)
        write_text_atomically(out / CONFIGURATION, toml_text(configuration.model_dump(mode="json")))
        planned = {part.name: part.seconds for part in study.plan(configuration)}
        reached = [0.0]
        doing = [study.name]

        def begun(name: str) -> None:
            doing[0] = name
            progress(reached[0], name)

        def finished(part: DonePart) -> None:
            reached[0] += planned.get(part.name, 0.0)
            progress(reached[0], part.name)

        store = PartStore(out, begun=begun, finished=finished)
        with _fixed_arithmetic(configuration.threads):
            result = study.run(
                StudyContext(
                    data=data,
                    configuration=configuration,
                    quick=quick,
                    tell=lambda says: progress(reached[0], f"{doing[0]}: {says}"),
                    store=store,
                )
            )
        if store.data is None:
            raise ValueError(f"{study.name} said of no file that it uses it")
        output = _written(study, data, out, configuration, quick, result, store, store.data)
        store.clear_work()
        return output


def _check_folder(out: Path, study: Study[Any], quick: bool) -> None:
    """UsageError where the folder holds another study, or the other of a quick and a full run."""
    try:
        there = json.loads((out / METRICS).read_text(encoding="utf-8"))
        name, was_quick = there["study"], there["quick"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if (name, was_quick) != (study.name, quick):
        kind = "quick" if was_quick else "full"
        raise UsageError(f"--out {out}: holds the {kind} run of {name}; give another folder")


@contextmanager
def _fixed_arithmetic(threads: int) -> Iterator[None]:
    """The same numbers from the same seed: so many threads, and only repeatable operations."""
    before = (
        torch.get_num_threads(),
        cv2.getNumThreads(),
        torch.are_deterministic_algorithms_enabled(),
    )
    torch.set_num_threads(threads)
    cv2.setNumThreads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        with flushed_denormals():
            yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
        torch.use_deterministic_algorithms(before[2])


def _written(
    study: Study[Any],
    data: Path,
    out: Path,
    configuration: StudyConfiguration,
    quick: bool,
    result: StudyResult,
    store: PartStore,
    used: UsedData,
) -> StudyOutput:
    table = predictions_csv(result.predictions)
    write_text_atomically(out / PREDICTIONS, table)
    drawings = {item.name: png_and_svg(item.figure, item.name) for item in result.figures()}
    drawn = _write_figures(out / FIGURES, drawings)
    measures = [_measure(item) for item in result.measures]
    comparison = [
        ComparisonOutput(
            what=item.what,
            paper=item.paper,
            where=item.where,
            ours=item.ours,
            comparable=item.comparable,
            why=item.why,
        )
        for item in result.comparison
    ]
    tables = rounded(dict(result.tables))
    numbers = {
        "measures": [item.model_dump() for item in measures],
        "tables": tables,
        "comparison": [item.model_dump() for item in comparison],
        "predictions": table,
    }
    output = StudyOutput(
        study=study.name,
        title=study.title,
        quick=quick,
        paper=PaperOutput(
            citation=study.paper.citation, doi=study.paper.doi, licence=study.paper.licence
        ),
        summary=result.summary,
        data=UsedDataOutput(root=str(data), files=used.files, bytes=used.bytes, sha256=used.sha256),
        configuration=configuration.model_dump(mode="json"),
        start=dict(result.start),
        measures=measures,
        tables=tables,
        comparison=comparison,
        not_comparable=list(result.not_comparable),
        numbers_sha256=hashlib.sha256(dump_json(numbers).encode()).hexdigest(),
        files=[PREDICTIONS, PAGE, CONFIGURATION, *drawn],
        run=_run_output(study, configuration, store),
    )
    pngs = {name: png for name, (png, _) in drawings.items()}
    write_text_atomically(out / PAGE, study_page(output, result, pngs))
    write_json_atomically(out / METRICS, output.model_dump())
    return output


def _write_figures(folder: Path, drawings: Mapping[str, tuple[bytes, bytes]]) -> list[str]:
    """Write each drawing as PNG and SVG, remove what an earlier run drew and this one does not."""
    drawn: dict[str, bytes] = {}
    for name, (png, svg) in drawings.items():
        drawn[f"{name}.png"], drawn[f"{name}.svg"] = png, svg
    for former in (*folder.glob("*.png"), *folder.glob("*.svg")):
        if former.name not in drawn:
            former.unlink()
    for name, content in drawn.items():
        write_bytes_atomically(folder / name, content)
    return [f"{FIGURES}/{name}" for name in sorted(drawn)]


def _run_output(
    study: Study[Any], configuration: StudyConfiguration, store: PartStore
) -> RunOutput:
    here = machine()
    return RunOutput(
        version=__version__,
        python=platform.python_version(),
        libraries={name: version(name) for name in LIBRARIES},
        board=here["board"],
        architecture=here["architecture"],
        threads=configuration.threads,
        expected_seconds=expected_seconds(study, configuration),
        seconds=round(sum(part.seconds for part in store.done), 1),
        parts=[
            PartOutput(name=part.name, seconds=part.seconds, taken_up=part.taken_up)
            for part in store.done
        ],
    )


def _measure(measure: Measure) -> MeasureOutput:
    return MeasureOutput(
        name=measure.name,
        of=measure.of,
        on=measure.on,
        value=_number(measure.value),
        unit=measure.unit,
        n=measure.n,
        low=_number(measure.low),
        high=_number(measure.high),
        interval=measure.interval,
        seeds={str(seed): _number(value) for seed, value in measure.seeds.items()},
        sd=_number(measure.sd),
    )


def _number(value: float | None) -> float | None:
    """To significant digits; None for what JSON cannot hold."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")


def rounded(value: Any) -> Any:
    """Plain values with every number to significant digits."""
    if isinstance(value, bool | str) or value is None:
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        return _number(float(value))
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value]


def predictions_csv(rows: Iterable[Prediction]) -> str:
    """The predictions as CSV text; a column of scores for each class that any row has."""
    rows = list(rows)
    classes = sorted({name for row in rows for name in row.scores})
    with io.StringIO(newline="") as text:
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*PREDICTION_COLUMNS, *(f"score_{name}" for name in classes)])
        for row in rows:
            own = (_cell(getattr(row, name)) for name in PREDICTION_COLUMNS)
            writer.writerow([*own, *(_cell(row.scores.get(name)) for name in classes)])
        return text.getvalue()


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.{SIGNIFICANT_DIGITS}g}" if isinstance(value, float) else str(value)


def toml_text(values: Mapping[str, Any], above: str = "") -> str:
    """Plain values as TOML: what is no table first, then each table under its heading.

    None is left out: TOML has nothing for it.
    """
    lines = [
        f"{key} = {_toml_value(value)}"
        for key, value in values.items()
        if not isinstance(value, Mapping) and value is not None
    ]
    parts = ["\n".join(lines)] if lines else []
    for key, value in values.items():
        if isinstance(value, Mapping):
            name = f"{above}{key}"
            parts.append(f"[{name}]\n{toml_text(value, f'{name}.')}".rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    # JSON's words, numbers and strings are TOML's.
    return json.dumps(value, ensure_ascii=False)
