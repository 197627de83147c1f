"""What of a screening goes into the log: numbers of images and codes, nothing of the person.

The state machine itself does no I/O; whoever runs it calls these.
"""

from __future__ import annotations

import logging

from edgehemo.screening.field import FieldReading
from edgehemo.screening.sample import SampleReading, UnreadableImage

log = logging.getLogger(__name__)


def note_image(number: int, result: FieldReading | UnreadableImage) -> None:
    """The verdict on an image, by its number among the sample's."""
    if isinstance(result, UnreadableImage):
        log.debug("image %d cannot be read", number)
    elif result.accepted:
        log.debug("image %d is accepted", number)
    else:
        log.debug("image %d is refused: %s", number, ", ".join(result.quality.faults))


def note_sample(reading: SampleReading) -> None:
    """How many images a sample had, and whether it has a result."""
    log.info(
        "sample of %d images, %d accepted: %s",
        len(reading.images),
        len(reading.accepted),
        "reported" if reading.withheld is None else reading.withheld.code,
    )
