"""The study's long steps: features of every picture, SVMs of every seed, trainings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgehemo.images.reading import read_frame
from edgehemo_export.data.duplicates import duplicate_pairs, perceptual_hash, thumbnail
from edgehemo_export.studies.lateef.configuration import (
    CnnOptions,
    LateefConfiguration,
    TransferOptions,
)
from edgehemo_export.studies.lateef.data import (
    HIDDEN,
    CellPicture,
    Split,
    StudyData,
    Way,
    corners,
    picture_reader,
    resized,
    split_of,
)
from edgehemo_export.studies.lateef.features import (
    COLOUR_NAMES,
    SHAPE_NAMES,
    ScatteringFeatures,
    colour_features,
    shape_features,
)
from edgehemo_export.studies.lateef.methods import SVM_METHODS, NetworkMethod, SvmMethod
from edgehemo_export.studies.lateef.networks import Begun, answers, begun, train_network
from edgehemo_export.studies.lateef.svm import Features, fit_svm, out_of_fold
from edgehemo_export.studies.study import StudyContext

Context = StudyContext[LateefConfiguration]
Arrays = dict[str, NDArray[Any]]
TELL_EVERY = 25
# What `corners` answers.
CORNER_NUMBERS = 6


def part_of_way(way: Way) -> str:
    """The name of a way in names of parts."""
    return way.replace(", ", "-").replace(" ", "-")


def features_part(way: Way) -> str:
    """The part that measures pictures shown in a way."""
    return f"features-{part_of_way(way)}"


def svm_part(seed: int) -> str:
    """The part that fits a seed's SVMs."""
    return f"svm-{seed}"


def network_part(method: NetworkMethod, seed: int) -> str:
    """The part that trains a network on a seed's split."""
    return f"{method.key}-{seed}"


def pictures_of_way(data: StudyData, way: Way) -> list[CellPicture]:
    """What is shown in a way: with the cell hidden the classes alone."""
    own = [picture for name in data.classes for picture in data.pictures[name]]
    return own if way in HIDDEN else data.all()


def features_of_way(context: Context, data: StudyData, way: Way) -> Arrays:
    """Features of every picture shown in one way, float32 (n, f) by their kind."""
    config = context.configuration

    def make() -> Arrays:
        read = picture_reader(way, config.data.side_px, config.background, config.equal)
        scattering = ScatteringFeatures(config.data.side_px, config.scattering)
        shown = pictures_of_way(data, way)
        sizes = {
            "scattering": 3 * scattering.count,
            "colour": len(COLOUR_NAMES),
            "shape": len(SHAPE_NAMES),
            "corners": CORNER_NUMBERS,
        }
        # Made before the first picture: rows kept between the transforms' large blocks would hold
        # several megabytes of each picture's memory from being used again.
        out = {kind: np.empty((len(shown), size), np.float32) for kind, size in sizes.items()}
        for number, picture in enumerate(shown):
            pixels = read(picture)
            out["scattering"][number] = scattering(pixels)
            out["colour"][number] = colour_features(pixels)
            out["shape"][number] = shape_features(pixels)
            out["corners"][number] = corners(pixels, config.background.disc_share)
            if (number + 1) % TELL_EVERY == 0:
                context.tell(f"{number + 1} of {len(shown)} pictures")
        return out

    of = (config.data, config.scattering, config.background, config.equal, way)
    return context.arrays(features_part(way), make, of)


def svms_of_seed(
    context: Context, data: StudyData, seed: int, features: dict[Way, Arrays]
) -> Arrays:
    """Scores of every SVM of one seed: ``KEY|WAY|test``, ``|folds`` (training pictures out of
    fold), ``|fold`` (which), ``|others``, and ``|machine``: support vectors, bound ones.
    """
    config = context.configuration

    def make() -> Arrays:
        split = split_of(data, config.data, seed)
        own = len(split.labels)
        out: Arrays = {}
        for method, way in svm_runs():
            options = config.svm
            if method.coding is not None:
                options = options.model_copy(update={"coding": method.coding})
            x = joined(features[way], method.features)
            classes = len(data.classes)
            machine = fit_svm(x[split.train], split.train_labels, classes, options)
            folds, fold = out_of_fold(x[split.train], split.train_labels, classes, options, seed)
            name = f"{method.key}|{part_of_way(way)}"
            out[f"{name}|test"] = machine.scores(x[split.test])
            out[f"{name}|folds"], out[f"{name}|fold"] = folds, fold
            if len(x) > own:
                out[f"{name}|others"] = machine.scores(x[own:])
            out[f"{name}|machine"] = np.array([machine.support_vectors, machine.bound_vectors])
        return out

    of = (config.data, config.scattering, config.background, config.equal, config.svm, seed)
    return context.arrays(svm_part(seed), make, of)


def svm_runs() -> list[tuple[SvmMethod, Way]]:
    """Every SVM with every way it is fitted in."""
    return [(method, way) for method in SVM_METHODS for way in method.ways]


def joined(features: Arrays, kinds: Sequence[str]) -> Features:
    """Features of several kinds side by side, float64 (n, f)."""
    return np.concatenate([features[kind].astype(np.float64) for kind in kinds], axis=1)


def network_of_seed(
    context: Context, data: StudyData, method: NetworkMethod, seed: int, how: Begun
) -> Arrays:
    """A network trained on one seed's split: its curves, and its scores of the held-out pictures
    as they are (``test``), with the cell hidden (``hidden``), and of the further sets (``others``).
    """
    config = context.configuration
    options: CnnOptions = getattr(config, method.key)
    needs = (config.data, method.architecture, how.start, how.frozen, seed)
    # All but the epochs: a longer training goes on from a shorter one.
    trained_as = (*needs, options.batch_size, options.learning_rate, side_of(config, options))

    def make() -> Arrays:
        split = split_of(data, config.data, seed)
        seen = shelf(data, "as they are", config, options)
        work = context.work(network_part(method, seed), trained_as)
        network = train_network(
            method.architecture,
            seen,
            split.train,
            split.test,
            split.labels,
            options,
            how,
            seed,
            work,
            context.tell,
        )
        hidden = shelf(data, "cell hidden", config, options)
        test = split.test
        own, count = len(split.labels), len(data.all())
        out = {
            "loss": network.loss,
            "accuracy": network.accuracy,
            "held_out": network.held_out,
            "test": answers(network.stages, lambda i: seen(int(test[i])), len(test)),
            "hidden": answers(network.stages, lambda i: hidden(int(test[i])), len(test)),
        }
        if count > own:
            out["others"] = answers(network.stages, lambda i: seen(own + i), count - own)
        return out

    return context.arrays(
        network_part(method, seed), make, (*trained_as, how.epochs, config.background)
    )


def side_of(config: LateefConfiguration, options: CnnOptions) -> int:
    """The input's side, px."""
    return options.side_px if isinstance(options, TransferOptions) else config.data.side_px


def start_of(method: NetworkMethod, config: LateefConfiguration) -> Begun:
    """How a network's trainings begin here."""
    options: CnnOptions = getattr(config, method.key)
    if isinstance(options, TransferOptions):
        return begun(method.architecture, options)
    return Begun("scratch", "from scratch, as in the paper", None, 0, options.epochs)


def shelf(
    data: StudyData, way: Way, config: LateefConfiguration, options: CnnOptions
) -> Callable[[int], NDArray[np.uint8]]:
    """Pictures by index into `StudyData.all`, each read once, at a network's side."""
    read = picture_reader(way, config.data.side_px, config.background, config.equal)
    pictures, side = data.all(), side_of(config, options)

    @cache
    def at(index: int) -> NDArray[np.uint8]:
        shown = read(pictures[index])
        return shown if side == config.data.side_px else resized(shown, side)

    return at


def doubles(context: Context, data: StudyData) -> list[list[int]]:
    """Pairs of pictures of the classes that show the same thing, by index."""

    def make() -> list[list[int]]:
        own = [picture for name in data.classes for picture in data.pictures[name]]
        small = np.stack([thumbnail(read_frame(picture.path).pixels) for picture in own])
        hashes = np.array([perceptual_hash(one) for one in small], np.uint64)
        # Exact copies look alike, too: the content need not be hashed for itself.
        names = [str(number) for number in range(len(own))]
        return [[pair.first, pair.second] for pair in duplicate_pairs(names, hashes, small)]

    found: list[list[int]] = context.part("doubles", make, context.configuration.data)
    return found


def straddling(pairs: Sequence[Sequence[int]], split: Split) -> int:
    """How many held-out pictures show what a training picture shows."""
    kept, held = set(split.train.tolist()), set(split.test.tolist())
    return len(
        {
            one
            for pair in pairs
            for one, other in combinations(pair, 2)
            for one, other in ((one, other), (other, one))
            if one in held and other in kept
        }
    )
