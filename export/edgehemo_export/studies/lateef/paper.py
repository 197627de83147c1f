"""What the paper reports, and where its table and its text disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgehemo_export.studies.lateef.methods import CNN, RESNET50, SCATTERING

CLASSES = ("basophil", "erythroblast", "myeloblast")
# Table 2: all parameters, trainable ones, and running statistics.
PARAMETERS = (605_415, 605_343, 72)


@dataclass(frozen=True)
class Reported:
    """A method's confusion chart, truth in rows, as the text tells it. where: in the paper."""

    counts: NDArray[np.int_]
    where: str


REPORTED: Mapping[str, Reported] = {
    SCATTERING.name: Reported(np.array([[30, 0, 0], [0, 30, 0], [0, 1, 29]]), "Figure 2"),
    CNN.name: Reported(np.array([[30, 0, 0], [4, 26, 0], [0, 0, 30]]), "Figure 4"),
    RESNET50.name: Reported(np.array([[30, 0, 0], [3, 27, 0], [0, 0, 30]]), "Figure 6"),
}

# What is told in one place, what in another, and what is done here.
DISAGREEMENTS: tuple[tuple[str, str, str], ...] = (
    (
        "Text: the CNN takes 300 x 300 pixels.",
        "Table 2: 400 x 400.",
        "400 x 400: 600,003 parameters of the last layer leave no other size.",
    ),
    (
        "Text: small filters such as 3 x 3.",
        "Table 2: 2,368 parameters of the first convolution, which is 16 filters of 7 x 7 x 3 and "
        "16 biases.",
        "7 x 7, then 3 x 3.",
    ),
    (
        "Text: several blocks, each with a max pooling.",
        "Table 2: two convolutions and one pooling, from 400 to 100.",
        "One pooling of 4 x 4.",
    ),
    (
        "Text: a global average pooling before the dense layers.",
        "Table 2: flattened to 200,000 values.",
        "Flattened.",
    ),
    (
        "Text: one or two dense layers with dropout.",
        "Table 2: one dense layer, no dropout.",
        "One, without.",
    ),
    (
        "Results: the networks were made in MATLAB.",
        "Table 2: the summary of a Keras model, which counts 72 running statistics of its two "
        "batch norms as parameters.",
        "Counted as Keras counts.",
    ),
    (
        "Text: one against all, or error-correcting codes.",
        "Table 1: the options of MATLAB's cubic SVM, which is one against one.",
        "One against one; the other is measured beside it.",
    ),
    (
        "Text: SGD or Adam, a learning rate schedule, L2.",
        "Results: a constant learning rate of 0.0001 for 100 epochs.",
        "Adam at that rate, no decay.",
    ),
    (
        "Data: pictures of at least 1024 x 1024, and 100 pictures in all.",
        "Data: 100 of each class; the published files of these cells are 360 to 400 pixels wide.",
        "100 of each class, from those files.",
    ),
    (
        "Methods: the section on the CNN begins with a paragraph on the water sorption of "
        "zirconium.",
        "It belongs to another paper.",
        "Left out.",
    ),
)
