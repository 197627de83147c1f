"""What a run found, as the page, the tables and metrics.json tell it."""

from __future__ import annotations

from dataclasses import replace

from edgehemo_export.evaluation.statistics import clopper_pearson
from edgehemo_export.studies.parts import relative_name
from edgehemo_export.studies.remya.cohorts import CLASSES, StudyPicture
from edgehemo_export.studies.remya.measures import THRESHOLD
from edgehemo_export.studies.remya.networks import STARTS
from edgehemo_export.studies.remya.page.ablations import ablation_sections
from edgehemo_export.studies.remya.page.abroad import external_sections
from edgehemo_export.studies.remya.page.cell_free import shortcut_sections
from edgehemo_export.studies.remya.page.data import data_section, data_table
from edgehemo_export.studies.remya.page.folds import folds_sections
from edgehemo_export.studies.remya.page.protocol import protocol_sections
from edgehemo_export.studies.remya.page.tally import Tally
from edgehemo_export.studies.remya.page.where import error_sections, look_sections
from edgehemo_export.studies.remya.paper import PAPER_HELD_OUT, PAPER_NOTES, paper_rows
from edgehemo_export.studies.remya.results import Found, Run
from edgehemo_export.studies.study import Comparison, Prediction, StudyResult


def told(found: Found, *, quick: bool) -> StudyResult:
    """Everything that is written of a run."""
    tally = Tally(found)
    sections = [
        data_section(found),
        *protocol_sections(found, tally),
        *shortcut_sections(found, tally),
        *ablation_sections(found, tally, "paper_split", "The paper's own split"),
        *folds_sections(found, tally),
        *ablation_sections(found, tally, "balance", "Balancing"),
        *ablation_sections(found, tally, "augmentation", "Augmentation"),
        *ablation_sections(found, tally, "levelled", "Pictures made alike"),
        *ablation_sections(found, tally, "start", "Weights at the start"),
        *external_sections(found, tally),
        *look_sections(found),
        *error_sections(found),
    ]
    return StudyResult(
        summary=_summary(found, tally, quick=quick),
        measures=tally.measures,
        predictions=_predictions(found),
        comparison=_comparison(found, tally),
        not_comparable=_not_comparable(found),
        sections=sections,
        data=data_table(found),
        start=_starts(found),
        tables=tally.tables,
    )


def _summary(found: Found, tally: Tally, *, quick: bool) -> str:
    first = found.first("main")
    if first is None:
        return "No network was trained on the main set: `run` names none that is."
    own = tally.held_out(first)["accuracy"]
    pictures = own.n
    text = (
        f"{found.title(first)} under the paper's protocol reaches an accuracy of {own} on "
        f"{pictures} held-out pictures of {found.cohorts['main'].name} "
        f"(runs: {len(own.seeds)}, groups kept whole); the paper reports 32 of 32."
    )
    table = tally.tables.get("shortcuts", {}).get(found.cohorts["main"].name, {})
    if table:
        best = max(table, key=lambda name: table[name]["ROC-AUC"])
        text += (
            f" A straight line through what no cell is seen in ({best}) reaches an AUC of "
            f"{table[best]['ROC-AUC']:.2f} there: the figure says as much of where the pictures "
            "come from as of blood."
        )
    inner = found.first("unconfounded")
    if inner is not None:
        text += (
            f" Where one camera took both classes, accuracy is {tally.held_out(inner)['accuracy']}."
        )
    text += _one_camera_in_folds(found, tally)
    return text + (" Quick run: cut down, never to be quoted." if quick else "")


def _one_camera_in_folds(found: Found, tally: Tally) -> str:
    """What every picture of the one camera says, each held out once: few pictures say little."""
    for arm in found.arms("folds"):
        cohort = found.cohorts[found.runs[arm][0].asked.config.cohort]
        if cohort is not found.cohorts.get("unconfounded"):
            continue
        own = tally.held_out(arm)
        text = (
            f" With each of its {own['accuracy'].n} pictures held out once the ROC-AUC is "
            f"{own['ROC-AUC']}"
        )
        table = tally.tables.get("shortcuts", {}).get(cohort.name, {})
        if table:
            best = max(table, key=lambda name: table[name]["ROC-AUC"])
            text += f", and {table[best]['ROC-AUC']:.2f} by a straight line through {best}"
        return text + "."
    return ""


def _comparison(found: Found, tally: Tally) -> list[Comparison]:
    exact = clopper_pearson(*PAPER_HELD_OUT)
    rows = [
        Comparison(
            "exact 95 % interval of 32 of 32",
            "0.891 to 1.000",
            "section IV",
            f"{exact.low:.3f} to {exact.high:.3f}",
            True,
            "The same arithmetic (Clopper and Pearson).",
        )
    ]
    first = found.first("main")
    if first is not None:
        ours = {
            found.title(arm): str(tally.held_out(arm)["accuracy"])
            for arm in found.arms("protocol", "main")
        }
        rows += paper_rows(found, tally.held_out(first), ours)
    return rows


def _not_comparable(found: Found) -> list[str]:
    notes = list(PAPER_NOTES)
    kinds = {begun.kind for begun in found.starts.values()}
    if kinds != {"imagenet"}:
        notes.append(
            "The paper's networks start from ImageNet. Here ImageNet's weights could not be had "
            "for all of them: which start each had stands above. The field estimator that "
            "ResNet18 may start from saw pictures of Chula and Uganda without being told which "
            "were anaemic; an external set is therefore new to the head and the fine-tuning, not "
            "to every weight."
        )
    if found.skipped:
        notes.append(f"Not trained, for the data lack their set: {', '.join(found.skipped)}.")
    return notes


def _starts(found: Found) -> dict[str, str]:
    """What the trainings began with: those of one network and start as one line."""
    arms: dict[tuple[str, str], list[str]] = {}
    for arm, begun in found.starts.items():
        missed = f" (could not be had: {'; '.join(begun.missed)})" if begun.missed else ""
        arms.setdefault((found.title(arm), STARTS[begun.kind] + missed), []).append(arm)
    return {f"{title} ({', '.join(names)})": told for (title, told), names in arms.items()}


def _predictions(found: Found) -> list[Prediction]:
    rows: list[Prediction] = []
    for arm, runs in found.runs.items():
        for run in runs:
            alone = replace(found, runs={arm: [run]})
            parts = [("held-out", alone.held_out(arm, balanced=False))]
            parts += [
                (f"external {found.cohorts[role].name}", answers)
                for role in found.cohorts
                if (answers := alone.abroad(arm, role)) is not None
            ]
            for part, answers in parts:
                rows += [
                    _prediction(found, part, run, picture, float(score))
                    for picture, score in zip(answers.pictures, answers.scores, strict=True)
                ]
    return rows


def _prediction(
    found: Found, part: str, run: Run, picture: StudyPicture, score: float
) -> Prediction:
    name = relative_name(found.root, picture.path)
    if picture.tiles > 1:
        name += f"#{picture.tile[0]}-{picture.tile[1]}"
    return Prediction(
        part=part,
        method=run.asked.arm,
        seed=run.asked.seed,
        picture=name,
        group=picture.group,
        source=picture.source,
        truth=CLASSES[picture.label],
        predicted=CLASSES[int(score >= THRESHOLD)],
        scores={CLASSES[1]: score, CLASSES[0]: 1 - score},
        fold=None if run.asked.fold is None else run.asked.fold + 1,
    )
