"""Which version of edgehemo runs on a kiosk, which one is proved, and why one was left.

A kiosk has two places for a version, ``a`` and ``b``. What is written here is read by whichever
version runs, older or newer: a change of these records is a change of the schema's number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from edgehemo.errors import UpdateError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.strict import Count, Moment, Record, RecordError, Sha256, Text

Slot = Literal["a", "b"]
SLOTS: tuple[Slot, ...] = ("a", "b")
STATE_NAME = "update.json"
# A state is a page of text; more is not one.
MAX_STATE_BYTES = 100_000
# When a version was left: its files did not pass before anything was switched; the first check
# after the switch failed, or could not be ended; a person asked for the one before.
LeftAt = Literal["before the switch", "first check", "not checked in time", "by hand"]


class InstalledVersion(Record, frozen=True, kw_only=True):
    """What lies whole in a slot. media_sha256: of the manifest it came by. records_version: the
    version of records that it writes.
    """

    version: Text
    media_sha256: Sha256
    records_version: Count
    installed_at: Moment


class Trial(Record, frozen=True, kw_only=True):
    """A version that was switched to and is not proved. tries_left: first checks that may still be
    begun; counted before each, so that a plug pulled in one counts.
    """

    slot: Slot
    since: Moment
    tries_left: Annotated[int, Meta(ge=0, le=100)]


class LeftVersion(Record, frozen=True, kw_only=True):
    """A version that was left, and why. back_to: the version that runs instead."""

    version: Text
    back_to: str | None
    at: Moment
    when: LeftAt
    reason: Text


class UpdateState(Record, frozen=True, kw_only=True):
    """slots: what lies whole in each. good: the slot of the version that was proved last; None
    before the first was. newest: the newest version that was ever proved here. left: the last
    version that was left, until a later one is proved. going_back: the slot that a person asked
    for, while it is being gone back to.
    """

    schema: Literal["edgehemo.update/1"] = "edgehemo.update/1"
    slots: dict[Slot, InstalledVersion] = field(default_factory=dict)
    good: Slot | None = None
    newest: str | None = None
    trial: Trial | None = None
    left: LeftVersion | None = None
    going_back: Slot | None = None

    @property
    def proved(self) -> InstalledVersion | None:
        """The version that was proved last."""
        return None if self.good is None else self.slots.get(self.good)


def read_state(data: Path) -> UpdateState:
    """The state below a kiosk's data folder; an empty one where no version was installed so.

    UpdateError where it cannot be read.
    """
    path = data / STATE_NAME
    try:
        with path.open("rb") as file:
            content = file.read(MAX_STATE_BYTES + 1)
        if len(content) > MAX_STATE_BYTES:
            raise UpdateError(f"{path}: is too large to be the state of the versions")
        return UpdateState.model_validate(msgspec.json.decode(content))
    except FileNotFoundError:
        return UpdateState()
    except OSError as error:
        raise UpdateError(f"{path}: cannot be read ({error.strerror})") from None
    except (msgspec.DecodeError, RecordError) as error:
        raise UpdateError(
            f"{path}: is damaged ({error}); install edgehemo again from its stick"
        ) from None


def write_state(data: Path, state: UpdateState) -> None:
    """Put a state in the place of the last, on the disk when this returns."""
    path = data / STATE_NAME
    write_text_atomically(path, state.model_dump_json(indent=2) + "\n")
    # Root writes it, also where its umask keeps others out; the kiosk reads it.
    path.chmod(0o644)
