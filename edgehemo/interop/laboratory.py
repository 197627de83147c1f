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

`Batch` and `Receipt` are read strictly by whoever gets them.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from edgehemo.errors import UsageError
from edgehemo.files.strict import Record, Sha256, Text

PATH = "/v1/results"
MOST_ITEMS = 50
# Of a batch, not compressed: the results' bytes together, and all of it. A larger result than the
# first goes alone.
MOST_RESULT_BYTES = 8_000_000
MAX_BATCH_BYTES = 40_000_000
MAX_RECEIPT_BYTES = 1_000_000
# Low, for the processor of a kiosk; JSON shrinks tenfold all the same.
_GZIP_LEVEL = 5

ItemOutcome = Literal["stored", "refused", "later"]


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
    """What the laboratory answers once everything it calls stored is committed."""

    schema: Literal["edgehemo.receipt/1"] = "edgehemo.receipt/1"
    items: tuple[ReceiptItem, ...]


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
    try:
        if len(data) > MAX_RECEIPT_BYTES:
            raise ValueError("too large")
        return Receipt.model_validate(msgspec.json.decode(data))
    except (ValueError, msgspec.DecodeError) as error:
        raise UsageError(f"this is no receipt ({error})") from None
