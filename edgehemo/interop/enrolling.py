"""This device comes to a laboratory by a pairing code: once, and again where one of them was lost.

The code names the laboratory's certificate, which is looked at before anything is said. From then
on the device trusts it alone, and shows a certificate that the laboratory gave it for a key of its
own.
"""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from edgehemo.device.changing import add_receiver
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.receivers import Receiver
from edgehemo.errors import UsageError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.files.strict import RecordError
from edgehemo.interop.laboratory import (
    ENROLMENT_PATH,
    ENROLMENT_PROOF,
    Enrolled,
    Enrolment,
    message_of,
)
from edgehemo.interop.own_key import OwnKey
from edgehemo.interop.pairing import PairingCode
from edgehemo.interop.receivers.https import HttpRoad
from edgehemo.interop.states import Failed
from edgehemo.version import __version__

_TIMEOUT_S = 20.0
TRUSTED, OWN = "laboratory.pem", "own.pem"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of a receiver lie that this device was enrolled at: below its data, for
    whoever sends renews them there.
    """

    folder: Path

    @classmethod
    def of(cls, device: DeviceConfiguration, name: str) -> Place:
        return cls(device.data_dir / "receivers" / name)

    @property
    def trusted(self) -> Path:
        """The laboratory's certificates."""
        return self.folder / TRUSTED

    @property
    def own(self) -> Path:
        """This device's key and certificate."""
        return self.folder / OWN


def enrol(
    device: DeviceConfiguration,
    address: str,
    code: PairingCode,
    *,
    name: str = "laboratory",
    pictures: bool = False,
    simulated: bool = False,
) -> Enrolled:
    """Enrol this device at the laboratory of an address, and have its results sent there.

    name: what the receiver is called here. Raises UsageError where another server answers, the
    laboratory refuses, or its address is none; DeviceError where the configuration cannot be
    changed.
    """
    place = Place.of(device, name)
    receiver = _receiver(device, address, name, place, pictures, simulated)
    der = shown_certificate(receiver)
    if not code.fits(der):
        raise UsageError(
            f"{address}: shows another certificate than the pairing code names: the code was "
            "mistyped, or another server answers there. Nothing was told to it"
        )
    place.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_text_atomically(place.trusted, ssl.DER_cert_to_PEM_cert(der))
    _give(place.folder.parent, device)
    _give(place.folder, device)
    key = OwnKey.new()
    given = _asked(receiver, device, code, key)
    key.keep(place.own, given.certificate)
    write_text_atomically(place.trusted, "".join(given.laboratory))
    for file in (place.own, place.trusted):
        _give(file, device)
    add_receiver(receiver.model_copy(update={"identified": given.identified}))
    return given


def _give(path: Path, device: DeviceConfiguration) -> None:
    """Let a file be that of whoever the data belong to: the kiosk renews it, and root may be who
    enrols.
    """
    owner = device.data_dir.stat()
    if os.geteuid() == 0 and path.stat().st_uid != owner.st_uid:
        os.chown(path, owner.st_uid, owner.st_gid)


def _receiver(
    device: DeviceConfiguration,
    address: str,
    name: str,
    place: Place,
    pictures: bool,
    simulated: bool,
) -> Receiver:
    values = {
        "name": name,
        "kind": "laboratory",
        "address": address,
        "certificate": str(place.trusted),
        "client_certificate": str(place.own),
        "client_key": str(place.own),
        "pictures": pictures,
        "simulated": simulated,
    }
    try:
        receiver = Receiver.model_validate(values)
    except RecordError as error:
        raise UsageError(f"{address}: {error}") from None
    known = next((each for each in device.receivers if each.name == name), None)
    if known is not None and known.kind != "laboratory":
        raise UsageError(
            f"a receiver called {name} is a {known.kind} already; choose another --receiver"
        )
    return receiver


def shown_certificate(receiver: Receiver) -> bytes:
    """The certificate (DER) that a server shows; nothing is said to it. UsageError where none
    answers.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It is compared with the code instead.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection((receiver.host, receiver.port), _TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=receiver.host) as tls,
        ):
            der = tls.getpeercert(binary_form=True)
    except OSError as error:
        raise UsageError(
            f"{receiver.address}: no laboratory answers there ({error.strerror or error}); the "
            "firewall of an installed kiosk lets out to receivers alone that are configured"
        ) from None
    assert der is not None, "a TLS server shows one"
    return der


def _asked(
    receiver: Receiver, device: DeviceConfiguration, code: PairingCode, key: OwnKey
) -> Enrolled:
    asked = Enrolment(
        secret=code.secret,
        public_key=key.public,
        proof=key.proof(ENROLMENT_PROOF + code.secret.encode()),
        device=device.name,
        software_version=__version__,
    )
    first = receiver.model_copy(update={"client_certificate": None, "client_key": None})
    road = HttpRoad(first)
    try:
        headers = {"content-type": "application/json"}
        url = receiver.address.rstrip("/") + ENROLMENT_PATH
        answer = road.post(url, asked.model_dump_json().encode(), headers)
    finally:
        road.close()
    if isinstance(answer, Failed):
        raise UsageError(f"{receiver.address}: {answer.said}")
    if answer.status != 200:
        said = " ".join(answer.text.split())[:300]
        raise UsageError(f"{receiver.address}: {said or f'HTTP {answer.status}'}")
    return message_of(Enrolled, answer.content)
