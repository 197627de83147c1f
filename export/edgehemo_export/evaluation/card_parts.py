"""Parts that every model card is put together from: tables and sections as Markdown lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgehemo.bundle.manifest import Metric
from edgehemo_export.data.splits import EARLIER_SPLIT, SPLIT_NAME

# Where it is written down which pictures an earlier split had in another part.
SPLIT_MOVES = "What changed its part is listed in `edgehemo_export/data/manifests/moved.json`."
# How `edgehemo evaluate --left-out` marks a source that a run never saw.
LEFT_OUT = ", left out of training"
INTENDED_USE = "Research and screening aid; not a diagnosis."
# What no model of this project has been tested on, whatever it does.
NEVER_TESTED = (
    "thick films",
    "bone marrow",
    "animal blood",
    "stains other than Romanowsky type",
    "malaria and other parasites",
    "fields out of focus or light beyond what quality accepts",
)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table. Numbers stand to the right; a bar inside a cell is escaped.

    Raises ValueError for a row of another length than the headings.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    for row in cells:
        if len(row) != len(headings):
            raise ValueError(f"{len(row)} cells under {len(headings)} headings")
    right = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(headings))]
    rule = ["---:" if numeric else "---" for numeric in right]
    lines = [[_cell(heading) for heading in headings], rule, *cells]
    return [f"| {' | '.join(line)} |" for line in lines]


def section(title: str, *blocks: Iterable[str] | str, level: int = 2) -> list[str]:
    """A heading with blocks under it, a blank line after each; empty blocks are left out."""
    lines = [f"{'#' * level} {title}", ""]
    for block in blocks:
        content = [block] if isinstance(block, str) else list(block)
        if content:
            lines += [*content, ""]
    return lines


def tried(record: Mapping[str, Any], title: str = "Tried") -> list[str]:
    """What a record tells of attempts and of what was seen; nothing where it tells none."""
    told = record.get("tried", [])
    return section(title, [f"- {item}" for item in told]) if told else []


def lineage(record: Mapping[str, Any], task: str) -> list[str]:
    """A numbered line a run of this task that these weights went through, the first one first."""
    runs: list[Mapping[str, Any]] = []
    run: Mapping[str, Any] | None = record
    while run is not None and run.get("images") is not None and run.get("task", task) == task:
        runs.append(run)
        run = run.get("initialised_from")
    lines = []
    for number, item in enumerate(reversed(runs), 1):
        images = ", ".join(f"{source} {count}" for source, count in item["images"].items())
        lines.append(f"{number}. {item['steps']} steps on {images}")
    return lines


def bounds(metric: Metric, digits: int = 3) -> str:
    """The interval of a metric in words, empty where it has none."""
    if metric.low is None or metric.high is None:
        return ""
    return f"{metric.low:.{digits}f} to {metric.high:.{digits}f}"


def metrics_table(metrics: Iterable[Metric | Mapping[str, Any]], digits: int = 3) -> list[str]:
    """Metrics by source with their intervals; takes them as stored in a record, too."""
    known = [m if isinstance(m, Metric) else Metric.model_validate(m) for m in metrics]
    return table(
        ("source", "metric", "value", "95 % interval", "items"),
        [(m.source, m.name, f"{m.value:.{digits}f}", bounds(m, digits), m.images) for m in known],
    )


def confusion_table(
    classes: Sequence[str], counts: Sequence[Sequence[int]], named: Sequence[str] | None = None
) -> list[str]:
    """Counts of kept-out cells: a row a true class, a column a named one, then the recall.

    named: the columns where they are not the classes (``uncertain`` after them). Raises
    ValueError where the counts do not fit.
    """
    columns = classes if named is None else named
    if len(counts) != len(classes):
        raise ValueError(f"{len(counts)} rows of counts for {len(classes)} classes")
    rows = []
    for index, (name, row) in enumerate(zip(classes, counts, strict=True)):
        total = sum(row)
        recall = f"{row[index] / total:.3f}" if total else ""
        rows.append((name, *row, recall))
    return table(("true \\ named", *columns, "recall"), rows)


def made_by(*commands: str) -> list[str]:
    """Section with the commands that reproduce the model."""
    return section("Made by", [f"    {command}" for command in commands])


def data_section(record: Mapping[str, Any]) -> list[str]:
    """Training data, its licences, how many pictures of each source, and the split's name."""
    sources = [f"- {item}" for item in record.get("training_data", [])]
    images: Mapping[str, int] = record.get("images", {})
    counts = ", ".join(f"{source} {count}" for source, count in images.items())
    lines = [f"Training pictures: {counts}."] if counts else []
    if counts:
        lines.append(
            f"Split `{split_of(record)}`: by slide or patient, or by block of neighbouring file "
            "numbers where neither is known; the tune part set everything that was chosen, the "
            "test part was kept out of it."
        )
    left_out = record.get("left_out")
    if left_out:
        lines.append(f"The source `{left_out}` was left out whole.")
    said = split_lines(record) if counts else []
    return section("Data", sources, [" ".join(lines)] if lines else [], said)


def split_of(record: Mapping[str, Any]) -> str:
    """The split that a record's weights were trained on."""
    return str(record.get("split") or EARLIER_SPLIT)


def split_lines(record: Mapping[str, Any]) -> list[str]:
    """What is to be said where the split is an earlier one; nothing where it is the current."""
    measured: Mapping[str, Any] = record.get("measured") or {}
    if measured.get("note"):
        return [f"{measured['note']} {SPLIT_MOVES}"]
    if split_of(record) == SPLIT_NAME:
        return []
    return [
        f"The figures below were measured under `{split_of(record)}`. Later versions split by "
        f"`{SPLIT_NAME}` and measure again when the model is trained anew. {SPLIT_MOVES}"
    ]


def never_tested(*more: str) -> list[str]:
    """Section of what the model was never tested on."""
    items = [*NEVER_TESTED, *more]
    return section(
        "Never tested on",
        [f"- {item}" for item in items],
        "Fields outside the training envelope in the bundle's manifest are to be refused.",
    )


def pictures(names: Iterable[str], captions: Mapping[str, str] | None = None) -> list[str]:
    """Pictures that lie beside the card, each with its caption."""
    said = captions or {}
    return [f"![{said.get(name, name)}]({name})" for name in names]


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == ""
    return True
