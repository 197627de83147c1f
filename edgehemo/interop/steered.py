"""What a laboratory offers this device: fetched at a visit, and put in use as its owner allows.

Nothing is fetched or put in use while a sample is screened. Where the receiver says ``asked`` a
supervisor at the kiosk puts it in use; where it says ``by itself`` the device does, once nobody is
signed in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.device.receivers import Receiver
from edgehemo.errors import EdgeHemoError, PublicationError
from edgehemo.interop.fetching import FetchStopped, Road, fetch
from edgehemo.interop.laboratory import Offer
from edgehemo.published.reports import Running
from edgehemo.published.running import running_on
from edgehemo.published.state import Published, PublishedStore
from edgehemo.published.terms import OPEN
from edgehemo.published.using import Using, check, put_in_use, settle

log = logging.getLogger(__name__)

# What did not come with its digest is fetched so often; then it is left.
DIGEST_TRIES = 3


@dataclass(frozen=True, slots=True)
class Occasion:
    """Whether something may be done now. fetching: no sample is screened. switching: nobody works
    at the kiosk either.
    """

    fetching: Callable[[], bool] = lambda: True
    switching: Callable[[], bool] = lambda: True


# Told what became of a publication: for the chain of the records, and for pages.
Told = Callable[[Published], None]


class Steered:
    """Of one laboratory. device: as it is now, asked each time. told: called after each change."""

    def __init__(
        self,
        receiver: Receiver,
        device: Callable[[], DeviceConfiguration] = lambda: load_device(None),
        *,
        occasion: Occasion | None = None,
        told: Told = lambda _: None,
        using: Callable[[DeviceConfiguration], Using] = Using,
    ) -> None:
        self._receiver, self._device = receiver, device
        self._occasion = Occasion() if occasion is None else occasion
        self._told = told
        self._using = using
        self._wrong: dict[str, int] = {}
        self._settled = False

    def running(self) -> Running:
        """What the laboratory is told."""
        device = self._device()
        if not self._settled:
            settle(self._using(device))
            self._settled = True
        return running_on(device, self._receiver.name, self._receiver.publications)

    def offered(self, offers: Sequence[Offer], road: Road) -> bool:
        """Do what is to be done with all that is offered now; whether something changed that the
        laboratory is to be told soon.
        """
        device = self._device()
        using = self._using(device)
        moved = self._withdrawn(using.store, offers)
        if self._receiver.publications == "never":
            return moved
        for offer in offers:
            item = self._noted(using.store, offer)
            if item.standing == "offered":
                moved = self._fetched(using, item, road) or moved
        if self._receiver.publications == "by itself":
            moved = self._put(using) or moved
        return moved

    def _withdrawn(self, store: PublishedStore, offers: Sequence[Offer]) -> bool:
        """What the laboratory offers no more is let go of, where it is not in use yet."""
        now = {each.sha256 for each in offers}
        moved = False
        for item in store.state().items:
            ours = item.origin == self._receiver.name and item.sha256 not in now
            if ours and item.standing in OPEN and item.standing != "putting":
                words = "the laboratory does not offer it any more"
                self._note(store, item.model_copy(update={"standing": "withdrawn", "words": words}))
                moved = True
        return moved

    def _noted(self, store: PublishedStore, offer: Offer) -> Published:
        known = store.state().of(offer.sha256)
        # Halted there, and offered once more: what was withdrawn here begins anew.
        if known is not None and known.standing != "withdrawn":
            return known
        item = Published(
            sha256=offer.sha256,
            kind=offer.kind,
            name=offer.name,
            serial=offer.serial,
            bytes=offer.bytes,
            origin=self._receiver.name,
            standing="offered",
            expected=offer.expected,
        )
        return store.note(item)

    def _fetched(self, using: Using, item: Published, road: Road) -> bool:
        store, address = using.store, self._receiver.address
        try:
            fetch(road, address, item, store, using.device, self._occasion.fetching)
        except FetchStopped as stopped:
            log.info("%s waits to be fetched: %s", item.called, stopped)
            if str(stopped) != item.words:
                self._note(store, item.model_copy(update={"words": str(stopped)}))
            return False
        except PublicationError as error:
            return self._wrong_digest(store, item, str(error))
        try:
            self._note(store, check(using, item))
        except (EdgeHemoError, OSError) as error:
            log.warning("%s is refused: %s", item.called, error)
            self._note(store, _refused(item, str(error)))
        return True

    def _wrong_digest(self, store: PublishedStore, item: Published, words: str) -> bool:
        tries = self._wrong[item.sha256] = self._wrong.get(item.sha256, 0) + 1
        log.warning("%s: %s", item.kind, words)
        refused = tries >= DIGEST_TRIES
        given = _refused(item, words) if refused else item.model_copy(update={"words": words})
        self._note(store, given)
        return refused

    def _put(self, using: Using) -> bool:
        """Put in use what waits, one after another, as long as nobody works here."""
        moved = False
        for item in using.store.state().waiting():
            if item.origin != self._receiver.name:
                continue
            if not self._occasion.switching():
                return moved
            self._told(put_in_use(using, item.sha256))
            moved = True
        return moved

    def _note(self, store: PublishedStore, item: Published) -> None:
        self._told(store.note(item))


def _refused(item: Published, words: str) -> Published:
    return item.model_copy(update={"standing": "refused", "words": " ".join(words.split())[:500]})
