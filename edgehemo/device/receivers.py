"""Who gets results: ``[[receivers]]`` of the device configuration.

One table of kinds says what address each has and which formats it takes. Nothing is sent to
anybody who does not stand here. The files that a receiver names are looked at in `receiver_files`,
apart from what is written in the configuration itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import SplitResult, urlsplit

from msgspec import Meta

from edgehemo.files.strict import Problem, Record, RecordError, Text

ReceiverKind = Literal["fhir", "mllp", "laboratory", "folder", "mqtt"]
MessageFormat = Literal["fhir-r4", "hl7-2.3.1", "hl7-2.5.1", "json"]
WithheldRule = Literal["report", "text", "nothing"]
PublicationsRule = Literal["never", "asked", "by itself"]

# More receivers than any site has.
MAX_RECEIVERS = 16
_LABEL = re.compile(r"label:[A-Za-z0-9_.-]{1,32}\Z")


@dataclass(frozen=True, slots=True)
class KindFacts:
    """What a kind of receiver is. schemes: of its address, the one with TLS first; empty where it
    is a folder. takes: formats, the one that is taken where none is named first; empty where it
    gets no results. needs: the package without which nothing is sent; empty for none.
    """

    about: str
    example: str
    schemes: tuple[str, ...]
    takes: tuple[MessageFormat, ...]
    needs: str = ""


RECEIVER_KINDS: Mapping[ReceiverKind, KindFacts] = {
    "fhir": KindFacts(
        "a FHIR R4 server", "https://clinic.example/fhir", ("https", "http"), ("fhir-r4",), "httpx"
    ),
    "mllp": KindFacts(
        "a laboratory system that listens for HL7 v2 over MLLP",
        "mllp://192.168.1.20:2575",
        ("mllps", "mllp"),
        ("hl7-2.5.1", "hl7-2.3.1"),
    ),
    "laboratory": KindFacts(
        "the laboratory that looks after this kiosk",
        "https://laboratory.example",
        ("https", "http"),
        ("json",),
        "httpx",
    ),
    "folder": KindFacts(
        "a folder, or the USB stick of a label",
        "label:EDGEHEMO",
        (),
        ("json", "fhir-r4", "hl7-2.5.1", "hl7-2.3.1"),
    ),
    "mqtt": KindFacts(
        "a broker that is told of this device's health and gets no result",
        "mqtts://laboratory.example:8883",
        ("mqtts", "mqtt"),
        (),
        "paho",
    ),
}
# The port of an address that names none.
DEFAULT_PORTS = {"https": 443, "http": 80, "mllps": 2575, "mllp": 2575, "mqtts": 8883, "mqtt": 1883}
_WITH_TLS = ("https", "mllps", "mqtts")
# In a hospital's own network HL7 is spoken without TLS; everything else is not.
_PLAIN_ALLOWED = ("mllp",)


class Receiver(Record, frozen=True, kw_only=True):
    """name: what results, lists and the log call it; it stays when the address changes. kind: what
    it is. address: where it is; `label:EDGEHEMO` is the USB stick of that label. format: what it is
    sent, where its kind takes several. withheld: what a sample without a result sends: its report
    with the reasons, with words in the place of the numbers (HL7 only, where a receiver refuses
    numbers that are not given), or nothing. simulated: whether results of the simulated microscope
    are sent, marked as such. identified: with the sample's number, operator, site and date; false
    sends pseudonyms. certificate: a file with the certificate, or that of its authority, that the
    receiver must show; without it the system's authorities are trusted. client_certificate: a file
    with the certificate that this device shows. client_key: a file with its key. credentials: a
    file with a token, or a user and a password. timeout_s: seconds after which an answer is not
    waited for any more. pictures: whether a laboratory gets the pictures of results that it asks
    for. publications: how bundles, languages and settings that a laboratory publishes come in use:
    never, once a supervisor at the kiosk puts them in use, or by themselves when nobody works.
    """

    name: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}\Z")]
    kind: ReceiverKind
    address: Annotated[str, Meta(min_length=1, max_length=500)]
    format: MessageFormat | None = None
    withheld: WithheldRule = "report"
    simulated: bool = False
    identified: bool = True
    certificate: Text | None = None
    client_certificate: Text | None = None
    client_key: Text | None = None
    credentials: Text | None = None
    timeout_s: Annotated[float, Meta(ge=1, le=300)] = 30.0
    pictures: bool = False
    publications: PublicationsRule = "asked"

    def __post_init__(self) -> None:
        if wrong := list(_wrong(self)):
            raise RecordError(wrong)

    @property
    def facts(self) -> KindFacts:
        """What its kind is."""
        return RECEIVER_KINDS[self.kind]

    @property
    def takes(self) -> MessageFormat | None:
        """The format it is sent; None of one that gets no results."""
        return self.format or (self.facts.takes[0] if self.facts.takes else None)

    @property
    def split(self) -> SplitResult:
        """The address in its parts; of a folder all of it is the path."""
        return urlsplit(self.address)

    @property
    def host(self) -> str:
        return self.split.hostname or ""

    @property
    def port(self) -> int:
        return self.split.port or DEFAULT_PORTS[self.split.scheme]

    @property
    def encrypted(self) -> bool:
        """Whether TLS protects what is sent."""
        return self.split.scheme in _WITH_TLS


def _wrong(receiver: Receiver) -> Iterator[Problem]:
    """All that does not fit together."""
    facts = RECEIVER_KINDS[receiver.kind]
    yield from _wrong_address(receiver, facts)
    if receiver.format is not None and receiver.format not in facts.takes:
        taken = " or ".join(facts.takes) or "none, for it gets no results"
        yield Problem("format", f"{receiver.kind} takes {taken}", given=receiver.format)
    if receiver.withheld == "text" and not (receiver.takes or "").startswith("hl7"):
        yield Problem("withheld", "text is of HL7 only; it is report or nothing", given="text")
    if (receiver.client_certificate is None) != (receiver.client_key is None):
        yield Problem("client_key", "client_certificate and client_key must be given together")
    if not any(receiver.address.startswith(f"{scheme}://") for scheme in _WITH_TLS):
        for key in ("certificate", "client_certificate"):
            if getattr(receiver, key) is not None:
                secure = f"a {facts.schemes[0]}:// address" if facts.schemes else "no folder"
                yield Problem(key, f"a certificate needs {secure}", given=getattr(receiver, key))
    if receiver.pictures and receiver.kind != "laboratory":
        yield Problem("pictures", f"{receiver.kind} takes none", given=True)
    if receiver.publications != "asked" and receiver.kind != "laboratory":
        yield Problem("publications", f"{receiver.kind} has none", given=receiver.publications)
    if receiver.credentials is not None and receiver.kind in ("folder", "mllp"):
        yield Problem("credentials", f"{receiver.kind} knows none", given=receiver.credentials)


def _wrong_address(receiver: Receiver, facts: KindFacts) -> Iterator[Problem]:
    address = receiver.address
    expected = f"write it as {facts.example}"
    if not facts.schemes:
        if not (_LABEL.match(address) or Path(address).expanduser().is_absolute()):
            yield Problem(
                "address", f"is neither a whole path nor the label of a stick; {expected}"
            )
        return
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        yield Problem("address", f"is no address; {expected}")
        return
    if parts.scheme not in facts.schemes or not parts.hostname:
        yield Problem("address", f"is no address of {facts.about}; {expected}")
        return
    if port == 0:
        yield Problem("address", "has no usable port")
    if parts.username is not None or parts.password is not None:
        yield Problem("address", "holds a name or password; those go into the credentials file")
    if parts.query or parts.fragment:
        yield Problem("address", f"has something after ? or #; {expected}")
    if parts.scheme in ("mllp", "mllps", "mqtt", "mqtts") and parts.path not in ("", "/"):
        yield Problem("address", f"ends with the port; {expected}")
    if (
        parts.scheme not in (*_WITH_TLS, *_PLAIN_ALLOWED)
        and not is_loopback(parts.hostname)
    ):  # fmt: skip
        yield Problem("address", f"without TLS only this machine itself is spoken to; {expected}")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    if host == "localhost":
        return True
    # Every command reads the configuration, and few of them have an address to look at.
    import ipaddress  # noqa: PLC0415

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_enrolled(receiver: Receiver) -> bool:
    """Whether a receiver is a laboratory that this device was enrolled at."""
    return receiver.kind == "laboratory" and receiver.client_certificate is not None


def doubled_names(receivers: Sequence[Receiver]) -> Iterator[Problem]:
    """Names that several receivers have."""
    seen: set[str] = set()
    for number, receiver in enumerate(receivers):
        if receiver.name in seen:
            yield Problem(
                f"receivers[{number}].name", "another receiver has it", given=receiver.name
            )
        seen.add(receiver.name)
