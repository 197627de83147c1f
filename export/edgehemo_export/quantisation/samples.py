"""Inputs that a bundle carries, so that another machine can reproduce an artefact's answers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgehemo.demo.demonstration import sample_image
from edgehemo.field.canonical import canonical_field
from edgehemo.images.reading import decode_frame
from edgehemo_export.quantisation.graph import FREE_SIZE_PX
from edgehemo_export.quantisation.subject import ExportSubject

# Where the model takes any size it is one, of the size that formats without that freedom fix.
SAMPLES = 3


def published_samples(subject: ExportSubject) -> list[NDArray[np.uint8]]:
    """Inputs from the simulated microscope, which anybody may have, uint8 (1, h, w, 3)."""
    codes = canonical_field(decode_frame(sample_image(), "sample")).to_uint8()
    free = subject.free_size_multiple is not None
    height, width = FREE_SIZE_PX if free else subject.example.shape[1:3]
    if codes.shape[0] < height or codes.shape[1] < width:
        below, right = max(0, height - codes.shape[0]), max(0, width - codes.shape[1])
        codes = np.pad(codes, ((0, below), (0, right), (0, 0)), mode="reflect")
    rng = np.random.default_rng(0)
    out = []
    for _ in range(1 if free else SAMPLES):
        y = int(rng.integers(0, codes.shape[0] - height + 1))
        x = int(rng.integers(0, codes.shape[1] - width + 1))
        out.append(np.ascontiguousarray(codes[None, y : y + height, x : x + width]))
    return out
