"""This device asks its laboratory now and then what there is to do, also with nothing to send.

What the laboratory never got is sent again; pictures that it asks for are sent, where the device
configuration allows that; what it publishes is fetched; a new certificate is fetched when it is
time, and what the laboratory will show next is trusted. The laboratory sees that this device lives,
and how it is; it gets what analysers measured of the samples that it has results of.
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.receiver_files import ReceiverFileError
from edgehemo.device.receivers import Receiver
from edgehemo.errors import EdgeHemoError, RecordsError, UsageError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.interop.access import Access
from edgehemo.interop.device_state import state_of
from edgehemo.interop.laboratory import (
    PAIRED_PATH,
    PICTURES_PATH,
    RENEWAL_PATH,
    RENEWAL_PROOF,
    VISIT_PATH,
    DeviceState,
    Paired,
    PairedTaken,
    Renewal,
    Renewed,
    Visit,
    Visited,
    message_of,
    plain_visit,
)
from edgehemo.interop.outbox import highest, missed
from edgehemo.interop.own_key import OwnKey
from edgehemo.interop.paired_values import highest_paired, paired_after
from edgehemo.interop.receivers.https import HttpAnswer, HttpRoad
from edgehemo.interop.states import Failed
from edgehemo.interop.steered import Steered
from edgehemo.records.clock import now
from edgehemo.records.deidentified import View
from edgehemo.records.results import result_of
from edgehemo.records.store import Reader
from edgehemo.report.pictures import png
from edgehemo.version import __version__

log = logging.getLogger(__name__)

# How often it is asked, less up to a quarter by chance; sooner where there is more to do.
EVERY_S = 600.0
_SOON_S = 5.0
_JITTER = 0.25
_JSON = {"content-type": "application/json"}
_END = "-----END CERTIFICATE-----"


# Statuses that say something of what was sent, and would say it each time.
_OF_WHAT_WAS_SENT = (400, 413, 422)
# How a laboratory of an older version answers what it does not know; it may be updated.
_REFUSED = 422
_UNKNOWN = 404
_OLDER_FOR_S = 6 * 3600.0


class VisitError(Exception):
    """A visit came to nothing; the next may. A phrase says why, without a patient's data. status:
    of the answer, None where there was none.
    """

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class Visits:
    """Of one laboratory that this device was enrolled at. Used by one thread. configuration: of
    this device, None where its state is not told. steered: what it publishes is fetched by; None,
    and it is not told what runs here.
    """

    def __init__(
        self,
        receiver: Receiver,
        access: Access,
        device: str,
        *,
        configuration: DeviceConfiguration | None = None,
        jitter: Callable[[], float] = random.random,
        steered: Steered | None = None,
    ) -> None:
        self._receiver, self._access, self._device = receiver, access, device
        self._configuration = configuration
        # Up to which analyser value the laboratory has them; None before it was asked.
        self._paired: int | None = None
        self._called = receiver.name
        self._jitter, self._steered = jitter, steered
        # Until when only what the first version knew is said: the laboratory refused more.
        self._plain_until_s = 0.0
        self._at_s = 0.0
        self._road: HttpRoad | None = None

    def turn(self) -> float:
        """Visit where it is time; how long to wait until the next."""
        if (left := self._at_s - time.monotonic()) > 0:
            return left
        wait_s = EVERY_S * (1 - _JITTER * self._jitter())
        try:
            if self._visited():
                wait_s = min(wait_s, _SOON_S)
        except (VisitError, UsageError, ReceiverFileError) as error:
            log.info("%s was not visited: %s", self._called, error)
        finally:
            self.close()
        self._at_s = time.monotonic() + wait_s
        return wait_s

    def _visited(self) -> bool:
        """Ask, and do what is asked for; whether there may be more."""
        answer = message_of(Visited, self._asked(self._visit()).content)
        if answer.missing:
            with self._access.writing() as writer:
                again = missed(writer, self._called, answer.missing, now_s=time.time())
            if again:
                log.warning("%s lost %d messages; they are sent again", self._called, len(again))
        self._trust(answer.laboratory)
        if answer.renew:
            self._renew()
        for result_id in answer.pictures:
            self._send_pictures(result_id)
        moved = False
        if answer.offers is not None and self._steered is not None:
            moved = self._steered.offered(answer.offers, self._opened())
        self._send_paired()
        return moved or bool(answer.pictures)

    def _asked(self, visit: Visit) -> HttpAnswer:
        """Post a visit; without what a laboratory of an older version refuses."""
        if time.monotonic() < self._plain_until_s:
            visit = plain_visit(visit)
        try:
            return self._posted(VISIT_PATH, _body(visit))
        except VisitError as error:
            plain = plain_visit(visit)
            if error.status != _REFUSED or visit == plain:
                raise
            answer = self._posted(VISIT_PATH, _body(plain))
        log.info("%s is older: it is not told what runs here", self._called)
        self._plain_until_s = time.monotonic() + _OLDER_FOR_S
        return answer

    def _visit(self) -> Visit:
        with self._access.reading() as reader:
            view = View.of(reader, identified=self._receiver.identified)
            return Visit(
                store=reader.id,
                device=view.name("device", self._device) or "",
                software_version=__version__,
                sent_at=now().isoformat(timespec="seconds"),
                noted=highest(reader, self._receiver.name),
                pinned=tuple(_digest(pem) for pem in self._trusted()),
                pictures=self._receiver.pictures,
                running=None if self._steered is None else self._steered.running(),
                state=self._state(reader),
            )

    def _state(self, reader: Reader) -> DeviceState | None:
        """How this device is; None where that cannot be told, which keeps back no visit."""
        if self._configuration is None:
            return None
        try:
            return state_of(reader, self._configuration, now()).checked()
        except (EdgeHemoError, OSError, ValueError) as error:
            log.warning("%s is not told how this device is: %s", self._called, error)
            return None

    # -- analyser values --------------------------------------------------------------------------

    def _send_paired(self) -> None:
        """Send what analysers measured of stored samples and the laboratory has not got yet."""
        with self._access.reading() as reader:
            until, store = highest_paired(reader), reader.id
        if until == (self._paired or 0):
            return
        if self._paired is None:
            try:
                self._paired = self._post_paired(Paired(store=store))
            except VisitError as error:
                if error.status != _UNKNOWN:
                    raise
                log.info("%s is older: it takes no analyser values", self._called)
                return
        while self._paired < until:
            with self._access.reading() as reader:
                view = View.of(reader, identified=self._receiver.identified)
                values = paired_after(reader, view, self._paired)
            got = self._post_paired(values)
            if got <= self._paired:
                # Nothing of these records came there yet; it is asked again with the next visit.
                self._paired = None
                return
            self._paired = got

    def _post_paired(self, values: Paired) -> int:
        said = self._posted(PAIRED_PATH, values.model_dump_json().encode())
        return message_of(PairedTaken, said.content).upto

    # -- certificates -----------------------------------------------------------------------------

    def _trusted(self) -> list[str]:
        """The certificates that are trusted now, PEM."""
        if self._receiver.certificate is None:
            return []
        try:
            text = Path(self._receiver.certificate).expanduser().read_text("ascii")
        except (OSError, ValueError):
            return []
        return [f"{part.strip()}\n{_END}\n" for part in text.split(_END) if part.strip()]

    def _trust(self, told: Sequence[str]) -> None:
        """Trust what the laboratory shows now and next, and nothing else."""
        if self._receiver.certificate is None:
            return
        wanted = [_digest(pem) for pem in told]
        if wanted == [_digest(pem) for pem in self._trusted()]:
            return
        self._write(Path(self._receiver.certificate).expanduser(), "".join(told))
        log.info("%s: another certificate is trusted from now on", self._called)

    def _renew(self) -> None:
        """Have a certificate for a new key; the old one counts until the new one is shown."""
        own, key_file = self._receiver.client_certificate, self._receiver.client_key
        if own is None or own != key_file:
            return
        key = OwnKey.new()
        asked = Renewal(public_key=key.public, proof=key.proof(RENEWAL_PROOF + key.public.encode()))
        said = self._posted(RENEWAL_PATH, asked.model_dump_json().encode())
        renewed = message_of(Renewed, said.content)
        try:
            key.keep(Path(own).expanduser(), renewed.certificate)
        except OSError as error:
            raise VisitError(f"the new key cannot be kept ({error.strerror or error})") from None
        log.info("%s: another key and certificate are used from now on", self._called)
        self.close()

    @staticmethod
    def _write(file: Path, text: str) -> None:
        try:
            write_text_atomically(file, text)
        except OSError as error:
            raise VisitError(f"{file}: {error.strerror or error}") from None

    # -- pictures ---------------------------------------------------------------------------------

    def _send_pictures(self, result_id: str) -> None:
        """Send the pictures of a result that are still here, without what a camera wrote into
        them, and say that these were all.
        """
        with self._access.reading() as reader:
            store = reader.id
            places = self._places(reader, result_id)
        sent = refused = 0
        for position in places or ():
            # One at a time: a result may have two hundred of them.
            with self._access.reading() as reader:
                data = self._picture(reader, result_id, position)
            if data is None:
                continue
            digest = hashlib.sha256(data).hexdigest()
            path = f"{PICTURES_PATH}/{store}/{result_id}/{position}?sha256={digest}"
            try:
                self._posted(path, data, method="PUT")
                sent += 1
            except VisitError as error:
                # One that is not taken keeps back no others.
                if error.status not in _OF_WHAT_WAS_SENT:
                    raise
                refused += 1
        words = ""
        if places is None:
            words = "this device has no such result"
        elif refused:
            words = f"{refused} of {len(places)} pictures were refused"
        elif sent < len(places):
            words = f"{len(places) - sent} of {len(places)} pictures are not kept any more"
        self._posted(f"{PICTURES_PATH}/{store}/{result_id}", words.encode())
        log.info("%s got %d pictures of a result", self._called, sent)

    @staticmethod
    def _places(reader: Reader, result_id: str) -> list[int] | None:
        try:
            return [field.position for field in result_of(reader, result_id).fields if field.sha256]
        except RecordsError:
            return None

    @staticmethod
    def _picture(reader: Reader, result_id: str, position: int) -> bytes | None:
        try:
            field = result_of(reader, result_id).fields[position]
            if field.sha256 is None or not reader.contents.has(field.sha256):
                return None
            return png(field.frame(reader).pixels)
        except RecordsError:
            return None

    # -- the way ----------------------------------------------------------------------------------

    def _posted(self, path: str, body: bytes, method: str = "POST") -> HttpAnswer:
        url = self._receiver.address.rstrip("/") + path
        answer = self._opened().send(method, url, body, _JSON)
        if isinstance(answer, Failed):
            raise VisitError(f"{answer.code}: {answer.said}")
        if answer.status not in (200, 201):
            said = " ".join(answer.text.split())[:200]
            raise VisitError(f"HTTP {answer.status}: {said}", answer.status)
        return answer

    def _opened(self) -> HttpRoad:
        if self._road is None:
            self._road = HttpRoad(self._receiver)
        return self._road

    def close(self) -> None:
        """Let go of the connection."""
        if self._road is not None:
            road, self._road = self._road, None
            road.close()


def _body(visit: Visit) -> bytes:
    """Without what is not known: a laboratory of an older version knows no key of it."""
    return json.dumps(visit.checked().model_dump(exclude_none=True)).encode()


def _digest(pem: str) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
