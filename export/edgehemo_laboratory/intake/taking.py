"""A batch is taken: what may come is written in one statement, and the receipt names what is stored
only after the commit.
"""

from __future__ import annotations

from edgehemo.interop.laboratory import Batch, Item, Receipt, ReceiptItem
from edgehemo_laboratory.chain import head_of, next_entry
from edgehemo_laboratory.clock import now, seconds_of, text_of
from edgehemo_laboratory.enrolment.kiosks import Kiosk
from edgehemo_laboratory.errors import ConflictError, LaboratoryError
from edgehemo_laboratory.intake.contents import Contents, contents_of
from edgehemo_laboratory.intake.missing import missing_of
from edgehemo_laboratory.intake.names import told_too_much
from edgehemo_laboratory.storage.interface import Arrived, Storage, StoredVersion, Taken

# So often a batch is written again whose kiosk's chain grew meanwhile.
_TRIES = 8
# Words of a refusal that are kept and sent.
_MOST_WORDS = 300


class NotItsRecordsError(LaboratoryError):
    """The records that a kiosk sends from belong to another one."""


def judged(item: Item, store: str, kiosk: Kiosk) -> Contents:
    """What an item says; LaboratoryError, in words that the kiosk shows, where it may not come."""
    contents = contents_of(bytes(item.result), identity=item.identity, sha256=item.sha256)
    if contents.store != store:
        raise LaboratoryError("it is from other records than the batch says")
    if not kiosk.identified and (why := told_too_much(contents)) is not None:
        raise LaboratoryError(
            f"this laboratory takes no names from {kiosk.name}, and {why}: set identified = false "
            "for this receiver, or have the laboratory allow names"
        )
    return contents


async def taken(storage: Storage, kiosk: Kiosk, batch: Batch) -> Receipt:
    """Store what may be stored of a batch; the receipt for it.

    Raises NotItsRecordsError where another kiosk came with these records before, StorageError where
    nothing is stored: the kiosk comes again.
    """
    versions: list[StoredVersion] = []
    arrived: list[Arrived] = []
    words: dict[str, str] = {}
    for item in batch.items:
        try:
            versions.append(judged(item, batch.store, kiosk).stored())
        except LaboratoryError as error:
            words[item.identity] = str(error)[:_MOST_WORDS]
        arrived.append(Arrived(item.sequence, item.identity, words.get(item.identity, "")))
    stored = await _written(storage, kiosk, batch, arrived, versions)
    if not stored and not await _is_its_own(storage, kiosk, batch.store):
        raise NotItsRecordsError(
            "these records came from another kiosk before; enrol this device as that one, or "
            "begin new records on it"
        )
    items = [_outcome(item, words, stored) for item in batch.items]
    return Receipt(items=tuple(items), missing=await missing_of(storage, batch.store))


async def _written(
    storage: Storage,
    kiosk: Kiosk,
    batch: Batch,
    arrived: list[Arrived],
    versions: list[StoredVersion],
) -> dict[str, str]:
    details = {
        "store": batch.store,
        "stored": [each.identity for each in versions],
        "refused": [each.identity for each in arrived if each.words],
    }
    for left in reversed(range(_TRIES)):
        at = now()
        head = await head_of(storage, kiosk.chain)
        entry = next_entry(
            kiosk.chain, head, "results received", batch.store, details, by=kiosk.name, at=at
        )
        batch_taken = Taken(
            kiosk=kiosk.number,
            store=batch.store,
            device=batch.device,
            software_version=batch.software_version,
            sent_at=batch.sent_at,
            at=text_of(at),
            at_s=seconds_of(at),
            chain=kiosk.chain,
            entry=entry,
            arrived=arrived,
            versions=versions,
        )
        try:
            return await storage.take(batch_taken)
        except ConflictError:
            if not left:
                raise
    raise AssertionError


async def _is_its_own(storage: Storage, kiosk: Kiosk, store: str) -> bool:
    found = await storage.rows("SELECT kiosk FROM records WHERE store = $1", store)
    return not found or found[0][0] == kiosk.number


def _outcome(item: Item, words: dict[str, str], stored: dict[str, str]) -> ReceiptItem:
    if item.identity in words:
        return ReceiptItem(identity=item.identity, outcome="refused", words=words[item.identity])
    digest = stored.get(item.identity)
    if digest is None:
        # Another batch is just writing it, and nobody knows yet whether it will.
        return ReceiptItem(identity=item.identity, outcome="later", words="not stored yet")
    return ReceiptItem(identity=item.identity, outcome="stored", sha256=digest)
