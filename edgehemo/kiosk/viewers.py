"""Who looks at the page: a bounded number of browsers, and exactly one of them steers.

A browser is known by its cookie, so that a reload is no second one. Whose PIN was right steers
(`edgehemo.kiosk.state.SignedIn`); before anybody signed in, every viewer may. At another screen the
same person goes on with the PIN; somebody else signs in once that person has locked the page or
signed out, for nobody is to be thrown out of what they are doing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgehemo.kiosk.state import KioskState

# Connections that are told of changes, and how many of them one browser may hold.
MAX_CONNECTIONS, MAX_OF_ONE = 8, 3
# What is asked for where somebody else is to sign in, as a page names it.
OTHER_USER = "otheruser"


def steers(state: KioskState, viewer: str) -> bool:
    """Whether what a viewer does counts."""
    return state.session is None or state.session.viewer == viewer


def may_do(state: KioskState, viewer: str, event: str) -> bool:
    """Whether what a viewer does counts. event: as a page names it. At a locked page nobody works:
    there every viewer may ask for the tiles, so that somebody else can sign in.
    """
    locked = state.session is not None and state.session.locked
    return steers(state, viewer) or (locked and event == OTHER_USER)


@dataclass(frozen=True, slots=True)
class Viewers:
    """Open connections: number -> viewer, oldest first."""

    connections: Mapping[int, str] = field(default_factory=dict)

    def joined(self, connection: int, viewer: str) -> Viewers | None:
        """With one more; None where there are too many. Of one browser's the oldest gives way,
        for a page that was reloaded may not have noticed its end.
        """
        if connection in self.connections:
            return self
        own = [number for number, who in self.connections.items() if who == viewer]
        kept = dict(self.connections)
        for number in own[: len(own) + 1 - MAX_OF_ONE]:
            del kept[number]
        if len(kept) >= MAX_CONNECTIONS:
            return None
        return replace(self, connections={**kept, connection: viewer})

    def left(self, connection: int) -> Viewers:
        """Without one."""
        kept = {n: viewer for n, viewer in self.connections.items() if n != connection}
        return replace(self, connections=kept)
