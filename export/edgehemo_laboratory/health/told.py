"""A message from a broker is judged: is it the health of a device at all, and whose?

A broker takes from whoever may write to it. Nothing is believed but that it came on a topic, and a
broker set up as the documentation says lets a kiosk write only below its own name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from edgehemo.files.strict import RecordError, keys_of
from edgehemo.interop.health import MAX_HEALTH_BYTES, STORE_DIGITS, TOPIC, Health

# What the listener asks the broker for.
ASKED = TOPIC.format(user="+", store="+")
_PARTS = TOPIC.split("/")
# What became of a message. foreign: of another kiosk than its topic says; unknown: of none that is
# known here; crowded out: so many topics were written to that this one was not looked at.
Fate = Literal["taken", "garbage", "too large", "foreign", "unknown", "crowded out"]
FATES: tuple[Fate, ...] = ("taken", "garbage", "too large", "foreign", "unknown", "crowded out")


@dataclass(frozen=True, slots=True)
class Told:
    """A message that is the health of a device. user: whose topic it came on. came_at_s: by this
    machine's clock. retained: the broker kept it from before we listened.
    """

    user: str
    health: Health
    came_at_s: int
    retained: bool


def judged(topic: str, payload: bytes, *, came_at_s: int, retained: bool) -> Told | Fate:
    """What a message says; what is wrong with it where it is no device's health."""
    if len(payload) > MAX_HEALTH_BYTES:
        return "too large"
    parts = topic.split("/")
    if len(parts) != len(_PARTS):
        return "garbage"
    user, store = parts[_PARTS.index("{user}")], parts[_PARTS.index("{store}")]
    try:
        said = msgspec.json.decode(payload)
        if not isinstance(said, dict):
            return "garbage"
        # A newer device may say more than is known here.
        known = set(keys_of(Health))
        health = Health.model_validate({key: said[key] for key in said if key in known})
    except (msgspec.MsgspecError, RecordError, RecursionError, ValueError):
        return "garbage"
    if health.store[:STORE_DIGITS] != store:
        return "foreign"
    return Told(user, health, came_at_s, retained)
