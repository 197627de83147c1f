"""What a kiosk and its laboratory say to each other when results are sent.

The kiosk posts a batch to ``PATH`` of the laboratory's address, JSON compressed with gzip
(``Content-Encoding: gzip``), with ``Authorization: Bearer TOKEN`` where it has a token and with its
own certificate where it has one. The laboratory answers 200 with a receipt, and only after
everything that the receipt calls stored is committed.

What holds between the two:

- An item is known by its ``identity`` (SHA-256 of what it says). The same identity may come any
  number of times, in one batch or in many, after a lost answer or after years: it is stored once,
  and each receipt says ``stored``.
- ``sha256`` is the digest of the bytes of ``result`` as they stand in the batch. The receipt gives
  back the digest of what was stored. An item whose bytes do not have its digest is not stored.
- ``sequence`` counts what this kiosk noted for this laboratory, from 1 without a gap. A number that
  never comes is a result that is missing; one that the laboratory refused came.
- Items come in the order of their sequence, but for some that stumbled; versions of one result
  never overtake each other, and never stand in one batch.
- An item that the receipt does not name counts as not stored, and is sent again.
- ``refused`` is for ever, until a person asks again; its ``words`` are shown to people. ``later``
  is sent again.
- A status other than 200 means that nothing was stored: 400, 413 and 422 of a batch of several make
  the kiosk send them in smaller ones.
- ``missing`` of a receipt are numbers that never came, though higher ones did: the kiosk sends what
  it has of them again, also what it once was told is stored.

A kiosk comes to a laboratory by a pairing code (`edgehemo.interop.pairing`), once: it posts an
`Enrolment` to ``ENROLMENT_PATH`` and gets its certificate, which it shows from then on, and those
of the laboratory, which it trusts and no others. It asks for another certificate at
``RENEWAL_PATH``. Now and then it posts a `Visit` to ``VISIT_PATH``, also when it has nothing to
send, and does what the answer asks for. A picture is put to ``PICTURES_PATH``/STORE/RESULT/POSITION
with the digest of its bytes as ``?sha256=``; 200 and 201 mean that it is stored there. What
analysers measured of stored samples goes to ``PAIRED_PATH``: the kiosk numbers those values, the
answer says up to which number the laboratory has them.

What a laboratory publishes for its kiosks stands in ``offers`` of the answer to a visit, all that
is offered to that kiosk now; a part of it is asked for at ``PUBLISHED_PATH``/SHA256 with ``Range``.

All of it is read strictly by whoever gets it. What was added since the first version is left out
where it is empty, and towards a laboratory that refuses it (`plain_visit`); a laboratory answers
``offers`` only to a kiosk that said what runs there.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from edgehemo.errors import UsageError
from edgehemo.files.strict import Count, NonNegative, Record, Sha256, Text
from edgehemo.measurands import Measurand
from edgehemo.published.reports import Running
from edgehemo.published.slide import SlideNumbers
from edgehemo.published.terms import Kind

PATH = "/v1/results"
ENROLMENT_PATH = "/v1/enrolment"
RENEWAL_PATH = "/v1/renewal"
VISIT_PATH = "/v1/visit"
PICTURES_PATH = "/v1/pictures"
PUBLISHED_PATH = "/v1/published"
PAIRED_PATH = "/v1/paired"
MOST_ITEMS = 50
# Of a batch, not compressed: the results' bytes together, and all of it. A larger result than the
# first goes alone.
MOST_RESULT_BYTES = 8_000_000
MAX_BATCH_BYTES = 40_000_000
MAX_RECEIPT_BYTES = 1_000_000
# Low, for the processor of a kiosk; JSON shrinks tenfold all the same.
_GZIP_LEVEL = 5

# Of a publication; so much of one is asked for at a time.
MAX_PUBLISHED_BYTES = 1_000_000_000
PART_BYTES = 1_000_000
MOST_OFFERS = 50
# Of a picture, as it is sent.
MAX_PICTURE_BYTES = 100_000_000
# Spans of missing numbers that are told at once; the rest is told once these have come.
MOST_SPANS = 100
# Analyser values that are sent at once.
MOST_PAIRED = 200
# A kiosk's public key (Ed25519) and a signature, in base64.
_KEY_PATTERN = r"^[A-Za-z0-9+/]{43}=\Z"
_SIGNATURE_PATTERN = r"^[A-Za-z0-9+/]{86}==\Z"
# What a kiosk signs to show that the key is its own, before what else is said there.
ENROLMENT_PROOF = b"edgehemo enrolment\0"
RENEWAL_PROOF = b"edgehemo renewal\0"

ItemOutcome = Literal["stored", "refused", "later"]
# How the control slides of a kiosk stand: "none" where its profile asks for none.
ControlStanding = Literal["none", "passed", "due", "missing", "failed", "unreadable"]
PicturesRule = Literal["never", "asked", "all"]
# First and last of a row of numbers.
Span = tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]]
Key = Annotated[str, Meta(pattern=_KEY_PATTERN)]
Signature = Annotated[str, Meta(pattern=_SIGNATURE_PATTERN)]
Pem = Annotated[str, Meta(min_length=1, max_length=20_000)]


class Item(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version of a result. result: JSON of the schema edgehemo.sent-result/1, its bytes as they
    were frozen.
    """

    sequence: Annotated[int, Meta(ge=1)]
    identity: Sha256
    sha256: Sha256
    result: msgspec.Raw


class Batch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a kiosk posts. store: identifier of its records, which number the sequence. device: what
    the kiosk is called. sent_at: what its clock says, which may be wrong.
    """

    schema: Literal["edgehemo.batch/1"] = "edgehemo.batch/1"
    store: Text
    device: Text
    software_version: Text
    sent_at: Text
    items: Annotated[tuple[Item, ...], Meta(min_length=1, max_length=MOST_ITEMS)]


class ReceiptItem(Record, frozen=True, kw_only=True):
    """What became of one item. sha256: of what is stored; null where nothing is. words: why, for
    people.
    """

    identity: Sha256
    outcome: ItemOutcome
    sha256: Sha256 | None = None
    words: str = ""


class Receipt(Record, frozen=True, kw_only=True):
    """What the laboratory answers once everything it calls stored is committed. missing: numbers
    that never came.
    """

    schema: Literal["edgehemo.receipt/1"] = "edgehemo.receipt/1"
    items: tuple[ReceiptItem, ...]
    missing: Annotated[tuple[Span, ...], Meta(max_length=MOST_SPANS)] = ()


class Enrolment(Record, frozen=True, kw_only=True):
    """A kiosk comes for the first time. secret: of the pairing code. public_key: its own, whose
    private half never leaves it. proof: signature of the secret by it.
    """

    schema: Literal["edgehemo.enrolment/1"] = "edgehemo.enrolment/1"
    secret: Text
    public_key: Key
    proof: Signature
    device: Text
    software_version: Text


class Enrolled(Record, frozen=True, kw_only=True):
    """What it gets. kiosk, site: what the laboratory calls it. certificate: its own, to be shown.
    laboratory: certificates that it trusts from now on. identified: whether results may come with
    names. pictures: which of them the laboratory wants.
    """

    schema: Literal["edgehemo.enrolled/1"] = "edgehemo.enrolled/1"
    kiosk: Text
    site: Text
    certificate: Pem
    laboratory: Annotated[tuple[Pem, ...], Meta(min_length=1, max_length=4)]
    identified: bool
    pictures: PicturesRule


class Renewal(Record, frozen=True, kw_only=True):
    """A kiosk wants a certificate for another key. proof: signature of the new public key by the
    new private one; the old certificate was shown.
    """

    schema: Literal["edgehemo.renewal/1"] = "edgehemo.renewal/1"
    public_key: Key
    proof: Signature


class Renewed(Record, frozen=True, kw_only=True):
    """The certificate for it. The one before counts until the new one was shown."""

    schema: Literal["edgehemo.renewed/1"] = "edgehemo.renewed/1"
    certificate: Pem


class Offer(Record, frozen=True, kw_only=True):
    """Something published for this kiosk. sha256: of the file. name, serial: as its manifest says.
    bytes: of the file. expected: what the test slide gives with it, of a bundle.
    """

    sha256: Sha256
    kind: Kind
    name: Text
    serial: Count
    bytes: Annotated[int, Meta(ge=1, le=MAX_PUBLISHED_BYTES)]
    expected: SlideNumbers | None = None


class DeviceState(Record, frozen=True, kw_only=True):
    """How a kiosk is, nothing of a patient. Ages are by its own clock, so that a wrong one does no
    harm: whoever hears them adds what has passed since.

    results: stored there. backup_age_s: seconds since the last good backup, null where there never
    was one; backed_up: results in it. control: how its control slides stand; control_age_s: seconds
    since the newest check; control_deviations: of that check, quantity -> standard deviations of
    the target. blocked: the code for which it gives no results now. free_mb: room for more.
    profile: whether it has a calibration profile.
    """

    results: Count
    backup_age_s: Count | None = None
    backed_up: Count | None = None
    control: ControlStanding
    control_age_s: Count | None = None
    control_deviations: Annotated[dict[str, float], Meta(max_length=40)] = msgspec.field(
        default_factory=dict
    )
    blocked: Text | None = None
    free_mb: NonNegative | None = None
    profile: bool = False


class PairedValue(Record, frozen=True, kw_only=True):
    """What an analyser measured of a stored sample. number: counts the values of a kiosk's records.
    sample: its number or pseudonym, as results have it. value: in the unit that measurand ends
    with. analyser: its name, null from a kiosk that sends pseudonyms. at: when it was entered, of
    such a kiosk the month.
    """

    number: Annotated[int, Meta(ge=1)]
    sample: Annotated[str, Meta(min_length=1, max_length=200)]
    measurand: Measurand
    value: float
    analyser: Annotated[str, Meta(max_length=200)] | None = None
    at: Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT", max_length=40)]


class Paired(Record, frozen=True, kw_only=True):
    """Analyser values of a kiosk's records, by number; none to ask up to which they are there."""

    schema: Literal["edgehemo.paired/1"] = "edgehemo.paired/1"
    store: Text
    values: Annotated[tuple[PairedValue, ...], Meta(max_length=MOST_PAIRED)] = ()


class PairedTaken(Record, frozen=True, kw_only=True):
    """What the laboratory has of them. upto: the highest number."""

    schema: Literal["edgehemo.paired-taken/1"] = "edgehemo.paired-taken/1"
    upto: Count


class Visit(Record, frozen=True, kw_only=True):
    """A kiosk asks what there is to do. noted: the highest number that it has noted for the
    laboratory. pinned: digests of the laboratory's certificates that it trusts. pictures: whether
    it sends any. running: what runs there. state: how it is. Both are null from one that does not
    say.
    """

    schema: Literal["edgehemo.visit/1"] = "edgehemo.visit/1"
    store: Text
    device: Text
    software_version: Text
    sent_at: Text
    noted: Count
    pinned: Annotated[tuple[Sha256, ...], Meta(max_length=8)] = ()
    pictures: bool = False
    running: Running | None = None
    state: DeviceState | None = None


class Visited(Record, frozen=True, kw_only=True):
    """What there is to do. missing: numbers that never came, up to the highest noted one. pictures:
    results whose pictures are wanted. renew: whether it is time for another certificate.
    laboratory: certificates that it is to trust from now on; another than before is used soon.
    offers: all that is published for it now; null where it did not say what runs there.
    """

    schema: Literal["edgehemo.visited/1"] = "edgehemo.visited/1"
    missing: Annotated[tuple[Span, ...], Meta(max_length=MOST_SPANS)] = ()
    pictures: Annotated[tuple[Text, ...], Meta(max_length=50)] = ()
    renew: bool = False
    laboratory: Annotated[tuple[Pem, ...], Meta(min_length=1, max_length=4)]
    offers: Annotated[tuple[Offer, ...], Meta(max_length=MOST_OFFERS)] | None = None


# What a laboratory of the first version refuses in a visit.
_ADDED_TO_VISITS = ("running", "state")


def plain_visit(visit: Visit) -> Visit:
    """A visit as the first version knew it."""
    return visit.model_copy(update=dict.fromkeys(_ADDED_TO_VISITS))


def packed_batch(batch: Batch) -> bytes:
    """A batch as it is posted."""
    return gzip.compress(msgspec.json.encode(batch), _GZIP_LEVEL, mtime=0)


def unpacked_batch(data: bytes, *, compressed: bool = True) -> Batch:
    """A batch that was posted; its items' digests are compared with their bytes.

    Raises UsageError, one line, for anything that is none.
    """
    try:
        text = _decompressed(data) if compressed else data
        batch = msgspec.json.decode(text, type=Batch)
    except (zlib.error, EOFError, ValueError, msgspec.DecodeError) as error:
        raise UsageError(f"this is no batch of results ({error})") from None
    for item in batch.items:
        if hashlib.sha256(item.result).hexdigest() != item.sha256:
            raise UsageError(f"item {item.sequence} does not have the bytes of its digest")
    return batch


def _decompressed(data: bytes) -> bytes:
    worker = zlib.decompressobj(wbits=31)
    text = worker.decompress(data, MAX_BATCH_BYTES)
    if worker.unconsumed_tail or not worker.eof:
        raise ValueError("too large or cut off")
    return text


def receipt_of(data: bytes) -> Receipt:
    """A receipt that came; UsageError for anything that is none."""
    return message_of(Receipt, data)


Said = TypeVar("Said", bound=Record)


def message_of(kind: type[Said], data: bytes) -> Said:
    """What one of the two said to the other; UsageError for anything that is none of its kind."""
    try:
        if len(data) > MAX_RECEIPT_BYTES:
            raise ValueError("too large")
        return kind.model_validate(msgspec.json.decode(data))
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise UsageError(f"this is no {kind.__name__.lower()} ({error})") from None
