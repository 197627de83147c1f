"""The study as `edgehemo study` runs it: its steps in their order, then what they found."""

from __future__ import annotations

from collections.abc import Iterator

from edgehemo_export.studies.lateef.configuration import CnnOptions, LateefConfiguration
from edgehemo_export.studies.lateef.data import WAYS, find_data, split_of
from edgehemo_export.studies.lateef.findings import Findings, NetworkRun
from edgehemo_export.studies.lateef.methods import NETWORKS, NetworkMethod
from edgehemo_export.studies.lateef.networks import Begun
from edgehemo_export.studies.lateef.report import result_of
from edgehemo_export.studies.lateef.steps import (
    doubles,
    features_of_way,
    features_part,
    network_of_seed,
    network_part,
    start_of,
    svm_part,
    svms_of_seed,
)
from edgehemo_export.studies.study import (
    Paper,
    PlannedPart,
    Study,
    StudyContext,
    StudyResult,
)

# CPU seconds on one core of an AMD EPYC (with bf16): features of a picture; SVMs of a seed; of each
# network one picture of one epoch, and, where stages are frozen, running them once on a picture.
SECONDS_A_PICTURE = 0.22
SECONDS_A_SEED = 6.0
# What the further sets come to, of the configured number.
OTHER_SETS = 8.0
LARGEST_CLASS = 130
NETWORK_SECONDS = {"cnn": 0.092, "resnet50": 0.165, "transfer": 0.0045}
FROZEN_SECONDS = {"cnn": 0.0, "resnet50": 0.0, "transfer": 0.06}


def run(context: StudyContext[LateefConfiguration]) -> StudyResult:
    """Every step, then the figures."""
    config = context.configuration
    data = find_data(context.data, config.data)
    context.use(data.files())
    starts: dict[str, Begun] = {
        method.key: start_of(method, config) for method in trained_networks(config)
    }
    features = {way: features_of_way(context, data, way) for way in WAYS}
    svms = {seed: svms_of_seed(context, data, seed, features) for seed in config.seeds}
    networks = [
        NetworkRun(method, seed, network_of_seed(context, data, method, seed, starts[method.key]))
        for method, seed in network_runs(config)
    ]
    found = Findings(
        configuration=config,
        root=context.data,
        data=data,
        splits={seed: split_of(data, config.data, seed) for seed in config.seeds},
        features=features,
        svms=svms,
        networks=networks,
        starts=starts,
        doubles=doubles(context, data),
    )
    return result_of(found)


def network_runs(config: LateefConfiguration) -> Iterator[tuple[NetworkMethod, int]]:
    """Every network with every seed that it is trained with, the quickest first."""
    for method in trained_networks(config):
        options: CnnOptions = getattr(config, method.key)
        for seed in config.seeds[: options.runs]:
            yield method, seed


def trained_networks(config: LateefConfiguration) -> list[NetworkMethod]:
    """The networks that any seed is trained with; of the others no weights are looked for."""
    return [method for method in reversed(NETWORKS) if getattr(config, method.key).runs]


def plan(config: LateefConfiguration) -> list[PlannedPart]:
    """What the steps take; trainings as they go where ImageNet's weights cannot be had."""
    own = len(config.data.classes) * LARGEST_CLASS
    parts = []
    for way in WAYS:
        pictures = own + (0 if "hidden" in way else OTHER_SETS * config.data.others)
        parts.append(PlannedPart(features_part(way), SECONDS_A_PICTURE * pictures))
    parts += [PlannedPart(svm_part(seed), SECONDS_A_SEED) for seed in config.seeds]
    trained = len(config.data.classes) * config.data.pictures_a_class * config.data.train_share
    for method, seed in network_runs(config):
        options: CnnOptions = getattr(config, method.key)
        epochs = options.epochs
        if method.key == "resnet50" and "scratch" in config.resnet50.start:
            epochs = config.resnet50.scratch_epochs
        seconds = trained * (epochs * NETWORK_SECONDS[method.key] + FROZEN_SECONDS[method.key])
        parts.append(PlannedPart(network_part(method, seed), round(seconds, 1)))
    return [*parts, PlannedPart("doubles", 10.0)]


STUDY = Study(
    name="lateef",
    title="Three kinds of cells by wavelet scattering, a CNN and ResNet-50",
    paper=Paper(
        citation="Lateef A S, Al-Zuhairi A J M, Kamil M Y: Classification and Prediction of Human "
        "Blood Cells Using Artificial Intelligence and Advanced Image Processing Techniques. "
        "Diyala Journal of Medicine 29(1), 2025",
        doi="10.26505/djm.v29i1.1463",
        licence="CC BY 4.0",
    ),
    shape="a root with three_class/ (and, beside it, pbc/, lmu/, bccd/, txl_pbc/), or a folder "
    "with a folder of pictures for each class",
    configuration=LateefConfiguration,
    plan=plan,
    run=run,
)
