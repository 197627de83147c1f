"""What training stored of a cell classifier: its network, its configuration, its rule."""

from __future__ import annotations

from dataclasses import replace

from edgehemo.bundle.manifest import ConformalRule, FamiliarityRule
from edgehemo.errors import UsageError
from edgehemo_export.checkpoints import Checkpoint
from edgehemo_export.data.cell_crops import CellCrops
from edgehemo_export.data.splits import Part, model_split
from edgehemo_export.models.classifiers.own_cells import with_own_classes
from edgehemo_export.models.classifiers.specification import ClassifierSpec
from edgehemo_export.models.classifiers.training import ClassifierConfig
from edgehemo_export.nets.classifier_nets import ClassifierNet, ClassifierNetConfig
from edgehemo_export.nets.familiarity import Familiarity


def classifier_net(spec: ClassifierSpec, checkpoint: Checkpoint) -> ClassifierNet:
    """The network of a checkpoint, temperature inside, in evaluation mode."""
    if checkpoint.task != spec.task:
        raise UsageError(f"a checkpoint of {checkpoint.task}, not of {spec.task}")
    model = ClassifierNetConfig(**checkpoint.record["configuration"]["model"])
    net = ClassifierNet(model, len(classes_of(spec, checkpoint)))
    if "familiarity.centres" in checkpoint.weights:
        centres, basis = (
            checkpoint.weights[f"familiarity.{name}"] for name in ("centres", "basis")
        )
        net.familiarity = Familiarity(len(centres), len(basis), centres.shape[1])
    net.load_state_dict(checkpoint.weights)
    return net.eval()


def classes_of(spec: ClassifierSpec, checkpoint: Checkpoint) -> tuple[str, ...]:
    """The classes a checkpoint answers: this version's, or the first so many of them, as an earlier
    version knew; or a laboratory's own. Raises UsageError for others.
    """
    known = tuple(checkpoint.record.get("classes", ()))
    if checkpoint.record.get("own_classes"):
        return known
    if not known or known != spec.classes[: len(known)]:
        raise UsageError("a checkpoint of other classes than this version's; train it again")
    return known


def as_learnt(spec: ClassifierSpec, checkpoint: Checkpoint) -> ClassifierSpec:
    """The classifier as a checkpoint knows it: its classes, and crops of these alone."""
    classes = classes_of(spec, checkpoint)
    if checkpoint.record.get("own_classes"):
        return with_own_classes(spec, classes)
    if classes == spec.classes:
        return spec
    return replace(
        spec,
        classes=classes,
        build=lambda data, config, cache: spec.build(data, config, cache).among(classes),
    )


def stored_config(checkpoint: Checkpoint) -> ClassifierConfig:
    """The configuration a checkpoint was trained with."""
    return ClassifierConfig.model_validate(checkpoint.record["configuration"])


def stored_rule(checkpoint: Checkpoint) -> ConformalRule:
    """The conformal rule that training fitted on the tune part."""
    return ConformalRule.model_validate(checkpoint.record["conformal"])


def stored_familiarity(checkpoint: Checkpoint) -> FamiliarityRule | None:
    """From which familiarity a cell and a sample are known; None where the network tells none."""
    found = checkpoint.record.get("familiarity")
    return None if found is None else FamiliarityRule.model_validate(found)


def kept_out(checkpoint: Checkpoint, crops: CellCrops, part: Part) -> CellCrops:
    """The crops of a part, as the weights may be measured by it (`ModelSplit`); of a run that left
    a source out, that source alone, all of it.
    """
    left_out = checkpoint.record.get("left_out")
    if left_out is not None:
        chosen = crops.only(left_out)
    else:
        chosen = crops.part(part, model_split(checkpoint.task, checkpoint.record))
    if not len(chosen):
        raise UsageError("the data root holds no crop of that part to evaluate on")
    return chosen
