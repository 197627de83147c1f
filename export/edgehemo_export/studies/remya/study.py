"""The study of Remya et al. 2026, from data to figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from edgehemo_export.studies.parts import relative_name
from edgehemo_export.studies.remya.cohorts import SHAPE, Cohort, cohorts
from edgehemo_export.studies.remya.configuration import ArmConfig, RemyaConfiguration, Start
from edgehemo_export.studies.remya.networks import Begun, chosen_start
from edgehemo_export.studies.remya.pictures import Decoded, decoded
from edgehemo_export.studies.remya.results import Found, Run
from edgehemo_export.studies.remya.screening import Screened, screened
from edgehemo_export.studies.remya.told import told
from edgehemo_export.studies.remya.trial import Asked, Material, asked_of, trial
from edgehemo_export.studies.study import Paper, PlannedPart, Study, StudyContext, StudyResult

PAPER = Paper(
    citation=(
        "R. Remya, M. Janani, P. Thilakavathy, M. R. Jose, R. Reji, L. P. Supriya, M. Asim, "
        "L. R. Nair, D. Tiger, D. Saleela: A Reproducible Deep Learning Pipeline for "
        "Augmentation-Enhanced Classification of Anemia-Related Blood-Cell Images. Engineering, "
        "Technology & Applied Science Research, 2026"
    ),
    doi="10.48084/etasr.19533",
    licence="CC BY 4.0",
)
PICTURES_PART = "pictures"
PICTURES_SECONDS = 25.0
# What an input of another size costs goes with its area, but for a share that nothing lessens.
TIMED_SIDE_PX, TIMED_EPOCHS, STEADY_SHARE = 224, 12, 0.03


def plan(config: RemyaConfiguration) -> list[PlannedPart]:
    """Every part with the time it took; smaller inputs and fewer epochs take less."""
    size = (config.pictures.side_px / TIMED_SIDE_PX) ** 2 * config.training.epochs / TIMED_EPOCHS
    less = STEADY_SHARE + (1 - STEADY_SHARE) * size
    return [
        PlannedPart(PICTURES_PART, PICTURES_SECONDS),
        *(
            PlannedPart(item.name, round(item.config.seconds * less, 1))
            for item in asked_of(config)
        ),
    ]


def run(context: StudyContext[RemyaConfiguration]) -> StudyResult:
    """Find the pictures, screen them, train every arm, and tell what came of it."""
    config = context.configuration
    by_role, files = cohorts(context.data, config.classes, config.pictures)
    context.use(files)
    material, screens = _material(context, by_role)
    runs: dict[str, list[Run]] = {}
    starts: dict[str, Begun] = {}
    skipped: list[str] = []
    for asked in asked_of(config):
        arm = asked.config
        if arm.cohort not in material.taught:
            skipped.append(asked.arm)
            continue
        begun = _start(context, arm)
        starts[asked.arm] = begun
        make: Callable[[], Mapping[str, Any]] = partial(
            trial, asked, begun.kind, material, config, context.tell
        )
        answer = context.part(asked.name, make, of=_needs(asked, begun.kind, material, config))
        runs.setdefault(asked.arm, []).append(Run(asked, answer))
    return told(
        Found(
            root=context.data,
            config=config,
            cohorts=by_role,
            screens=screens,
            material=material,
            runs=runs,
            starts=starts,
            skipped=list(dict.fromkeys(skipped)),
        ),
        quick=context.quick,
    )


def _material(
    context: StudyContext[RemyaConfiguration], by_role: Mapping[str, Cohort]
) -> tuple[Material, dict[str, Screened]]:
    """Pictures decoded once, and screened."""
    config = context.configuration
    everything = [picture for cohort in by_role.values() for picture in cohort.pictures]
    arrays = Decoded.stored(
        context.arrays(
            PICTURES_PART,
            lambda: decoded(everything, config.pictures, context.tell).arrays(),
            of=(config.pictures, [relative_name(context.data, p.path) for p in everything]),
        )
    )
    screens = {role: screened(cohort.pictures, arrays) for role, cohort in by_role.items()}
    return (
        Material(
            root=context.data,
            taught={role: found.pictures for role, found in screens.items()},
            raw={role: cohort.pictures for role, cohort in by_role.items()},
            decoded=arrays,
        ),
        screens,
    )


def _start(context: StudyContext[RemyaConfiguration], arm: ArmConfig) -> Begun:
    """Which weights an arm starts from; settled once, so that a run taken up keeps to it."""
    preferred = context.configuration.start_of(arm)
    name = "-".join(("start", arm.network, *preferred))
    found = context.part(
        name,
        lambda: {
            "kind": (begun := chosen_start(arm.network, preferred)).kind,
            "missed": list(begun.missed),
        },
        of=(arm.network, preferred),
    )
    return Begun(found["kind"], tuple(found["missed"]))


def _needs(asked: Asked, start: Start, material: Material, config: RemyaConfiguration) -> object:
    """What a trial depends on beside the data."""
    arm = asked.config.model_dump(exclude={"shows", "seconds", "seeds", "start"})
    arm["explained"] = asked.config.explained and asked.seed == config.seeds_of(asked.config)[0]
    return (
        arm,
        asked.seed,
        asked.fold,
        start,
        material.digest,
        config.pictures,
        config.split,
        config.training,
        config.augmentation,
    )


STUDY = Study(
    name="remya",
    title="Anaemia-like against control-like pictures of blood",
    paper=PAPER,
    shape=SHAPE,
    configuration=RemyaConfiguration,
    plan=plan,
    run=run,
)
