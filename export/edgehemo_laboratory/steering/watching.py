"""Beside the server: what is published is looked at now and then."""

from __future__ import annotations

import asyncio
import logging

from edgehemo.errors import place_of
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.steering.changing import watch
from edgehemo_laboratory.storage.interface import Storage

log = logging.getLogger(__name__)

# A kiosk visits every ten minutes; what it says of a failure is looked at at once.
EVERY_S = 60.0


async def watching(storage: Storage, every_s: float = EVERY_S) -> None:
    """Look again and again, until it is cancelled; a storage that is away for a while ends it
    not.
    """
    while True:
        await asyncio.sleep(every_s)
        try:
            for each in await watch(storage):
                log.warning("%s is halted: %s", each.called, each.why)
        except LaboratoryError as error:
            log.warning("what is published was not looked at: %s", error)
        except Exception as error:
            log.error("what is published: %s at %s", type(error).__name__, place_of(error))
