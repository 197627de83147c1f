"""The methods as one table: what each stands on, and in which ways pictures are shown.

Those that stand on features are SVMs; the networks have their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgehemo_export.studies.lateef.configuration import Coding
from edgehemo_export.studies.lateef.data import HIDDEN, WAYS, Way

FeatureKind = Literal["scattering", "colour", "shape", "corners"]
SEEN: tuple[Way, ...] = ("as they are", "made alike")


@dataclass(frozen=True)
class SvmMethod:
    """key: in stored arrays. name: on the page. features: joined in this order. ways: in which it
    is trained and measured. coding: None for the configured one.
    """

    key: str
    name: str
    features: tuple[FeatureKind, ...]
    ways: tuple[Way, ...]
    coding: Coding | None = None


SCATTERING = SvmMethod("scattering", "scattering + SVM", ("scattering",), WAYS)
ONE_VS_REST = SvmMethod(
    "scattering-rest",
    "scattering + SVM, one against the rest",
    ("scattering",),
    ("as they are",),
    "one_vs_rest",
)
COLOUR_SHAPE = SvmMethod("colour-shape", "colour and shape + SVM", ("colour", "shape"), SEEN)
FUSED = SvmMethod(
    "fused", "scattering, colour and shape + SVM", ("scattering", "colour", "shape"), SEEN
)
CORNERS = SvmMethod("corners", "six numbers of the corners + SVM", ("corners",), HIDDEN)
SVM_METHODS: tuple[SvmMethod, ...] = (SCATTERING, ONE_VS_REST, COLOUR_SHAPE, FUSED, CORNERS)


@dataclass(frozen=True)
class NetworkMethod:
    """key: of its table in the configuration and its parts. architecture: in the project's table of
    them.
    """

    key: Literal["cnn", "resnet50", "transfer"]
    name: str
    architecture: str


CNN = NetworkMethod("cnn", "the paper's CNN", "study_cnn")
RESNET50 = NetworkMethod("resnet50", "ResNet-50", "resnet50")
TRANSFER = NetworkMethod("transfer", "EfficientNet-Lite0, transferred", "efficientnet_lite0")
NETWORKS: tuple[NetworkMethod, ...] = (CNN, RESNET50, TRANSFER)
