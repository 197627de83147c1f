"""Which pictures there are: duplicates, classes, parts."""

from __future__ import annotations

from edgehemo_export.studies.remya import drawing
from edgehemo_export.studies.remya.cohorts import CLASSES
from edgehemo_export.studies.remya.page.words import per_class
from edgehemo_export.studies.remya.results import Found
from edgehemo_export.studies.remya.trial import pictures_of
from edgehemo_export.studies.study import Block, Section, StudyFigure, Table

SAMPLES = 6
ROLE_NAMES = {
    "main": "main",
    "unconfounded": "one camera",
    "second": "second set",
    "external": "external",
}


def data_table(found: Found) -> Table:
    """The sets by role."""
    rows = []
    for role, cohort in found.cohorts.items():
        screen = found.screens[role]
        counts = per_class([picture.label for picture in screen.pictures])
        rows.append(
            (
                cohort.name,
                ROLE_NAMES[role],
                cohort.says,
                f"{cohort.found[0]} + {cohort.found[1]}",
                f"{counts[0]} + {counts[1]}",
                str(len({picture.group for picture in screen.pictures})),
            )
        )
    return Table(
        ("set", "role", "what it is", "found", "taken", "groups"),
        rows,
        (3, 4, 5),
        "Pictures: control-like + anaemia-like. No haemoglobin stands behind any of them but "
        "AneRBC's.",
    )


def data_section(found: Found) -> Section:
    """Duplicates, class distribution, and pictures of each part."""
    rows = []
    for role, screen in found.screens.items():
        pairs = screen.pairs
        rows.append(
            (
                found.cohorts[role].name,
                str(pairs["exact"]),
                str(pairs["copy"]),
                str(pairs["same_view"]),
                str(pairs["across_groups"]),
                str(len(screen.copies)),
                str(len(screen.contradicted)),
            )
        )
    blocks: list[Block] = [
        "Every picture is hashed twice: by its bytes (SHA-256) and by its look (64 signs of a "
        "cosine transform, confirmed by correlating local detail). Copies are left out but for "
        "the first, a view that stands in both classes is left out, and a view photographed twice "
        "stays in one group.",
        Table(
            ("set", "same bytes", "copy", "same view", "across groups", "left out", "in both"),
            rows,
            tuple(range(1, 7)),
            "Pairs of duplicates, and the pictures that were left out for them.",
        ),
    ]
    arm = found.first("main")
    if arm is not None:
        blocks += _sample_figures(found, arm)
    return Section("Pictures, duplicates, parts", blocks)


def _sample_figures(found: Found, arm: str) -> list[Block]:
    """Class distribution and the panels of each part, of an arm's first run."""
    run = found.runs[arm][0]
    pictures = pictures_of(run.asked.config, found.material)
    labels = [picture.label for picture in pictures]
    cohort = found.cohorts["main"]
    steps = [("found", cohort.found), ("screened", per_class(labels))]
    for name, part in run.answer["split"].items():
        steps.append((name, per_class([labels[place] for place in part])))
    arrays = found.material.decoded.as_is[found.material.decoded.places(pictures)]
    rows = []
    for name, part in run.answer["split"].items():
        for label, title in enumerate(CLASSES):
            own = [place for place in part if labels[place] == label]
            step = max(1.0, len(own) / SAMPLES)
            chosen = [own[int(k * step)] for k in range(min(len(own), SAMPLES))]
            rows.append((f"{name}\n{title}", arrays[chosen]))
    return [
        StudyFigure(
            "class-distribution",
            drawing.counts_figure(steps, "Pictures by class"),
            "From what was found to the parts of the first run; training shows an equal number of "
            "each class in an epoch (downsampled), as in the paper.",
        ),
        StudyFigure(
            "samples",
            drawing.samples_figure(rows, SAMPLES, "Training, validation, held out"),
            "Pictures of each part and class, as the networks see them.",
        ),
    ]
