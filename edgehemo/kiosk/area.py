"""What a part of the kiosk beside the samples is made of: its pages, and what is done on them.

An area is a place of the state (`screens.AREAS`): who may be there, what lies over it and when it
ends says the flow. What it shows is not in the state: its pages have addresses of their own below
``/area/<area>/``, and after a restart it begins at its first page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.kiosk.engine import Kiosk
from edgehemo.kiosk.jobs import Jobs
from edgehemo.kiosk.putting_back import PutBack
from edgehemo.kiosk.screens import Area
from edgehemo.kiosk.state import SignedIn
from edgehemo.words.language import Words


@dataclass(frozen=True, slots=True)
class Desk:
    """What an area works with. take_up: told a device configuration that was changed and written,
    from any thread; the kiosk then works by it. use_camera: told another camera likewise, which is
    then the kiosk's. put_back: told a backup that is to take the records' place; the kiosk then
    begins again. address: of the page.
    """

    kiosk: Kiosk
    device: DeviceConfiguration
    jobs: Jobs
    take_up: Callable[[DeviceConfiguration], None] = lambda _: None
    use_camera: Callable[[str], None] = lambda _: None
    put_back: Callable[[PutBack], None] = lambda _: None
    address: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked for. path: below the area, without slashes at its ends; empty is its first
    page. values: of the query of a page, or the fields of a form. who: works now, with a role that
    may be here.
    """

    path: str
    values: Mapping[str, str]
    who: SignedIn
    words: Words


@dataclass(frozen=True, slots=True)
class Shown:
    """A page. template: below the kiosk's templates. values: what it is given beside what every
    page has.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """Something else than a page, such as a picture."""

    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Went:
    """What was done. path: the page to go to, below the area, with its query. said, problem: what
    stands on it once, in the person's language; a problem where it could not be done.
    """

    path: str = ""
    said: str = ""
    problem: str = ""


class AreaPages(Protocol):
    """One area. Both methods run outside the event loop; `do` in the thread that writes the
    records, in the order of the asking: what takes longer than a second is a job (`Desk.jobs`).
    """

    @property
    def area(self) -> Area:
        """Which it is."""
        ...

    def show(self, desk: Desk, asked: Asked) -> Shown | Sent | None:
        """The page of a path; None where there is none. RecordsError where the records cannot
        give what it needs.
        """
        ...

    def do(self, desk: Desk, asked: Asked) -> Went | None:
        """Do what a form asks for; None where there is no such thing. EdgeHemoError, and nothing
        was changed, where it cannot be done.
        """
        ...
