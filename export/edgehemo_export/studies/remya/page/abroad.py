"""External validation: sets that a network was not taught."""

from __future__ import annotations

from edgehemo_export.studies.remya import drawing
from edgehemo_export.studies.remya.page.tally import Tally
from edgehemo_export.studies.remya.page.words import cell, per_class
from edgehemo_export.studies.remya.results import Answers, Found
from edgehemo_export.studies.study import Block, Section, StudyFigure, Table


def external_sections(found: Found, tally: Tally) -> list[Section]:
    """Each set's first network on the pictures of the others."""
    rows: list[tuple[str, ...]] = []
    bars: dict[str, dict[str, float]] = {}
    for trained_on in ("main", "unconfounded", "second"):
        arm = found.first(trained_on)
        if arm is None:
            continue
        for role in found.cohorts:
            answers = found.abroad(arm, role)
            if answers is None:
                continue
            own = tally.of(arm, f"{found.cohorts[role].name}, not taught", answers)
            rows.append(
                (
                    found.cohorts[trained_on].name,
                    found.cohorts[role].name,
                    " + ".join(str(n) for n in per_class(_once(answers))),
                    *(
                        cell(own.get(name))
                        for name in ("accuracy", "recall", "specificity", "ROC-AUC")
                    ),
                )
            )
            if "ROC-AUC" in own:
                bars.setdefault(f"taught {found.cohorts[trained_on].name}", {})[
                    found.cohorts[role].name
                ] = own["ROC-AUC"].value
    if not rows:
        return []
    blocks: list[Block] = [
        "Each network of the first arm on pictures of the sets that it was not taught, each seed "
        "by itself. Pictures that both sets share are left out, so that of one set a single class "
        "may remain: then there is a recall or a specificity alone.",
        Table(
            (
                "taught",
                "answered",
                "pictures",
                "accuracy",
                "recall",
                "specificity",
                "ROC-AUC",
            ),
            rows,
            (2, 3, 4, 5, 6),
            "Pictures: control-like + anaemia-like. Mean over runs; intervals: bootstrap of "
            "groups.",
        ),
    ]
    if bars:
        blocks.append(
            StudyFigure(
                "external",
                drawing.grouped_bars_figure(
                    bars, "AUC on sets that were not taught", y_label="ROC-AUC", chance=0.5
                ),
                "0.5 is chance; below it, the classes are taken for one another.",
            )
        )
    return [Section("External validation", blocks)]


def _once(answers: Answers) -> list[int]:
    labels = {picture.key: picture.label for picture in answers.pictures}
    return list(labels.values())
