"""Pictures of results: asked for by a person or by policy, sent by the kiosk, kept once."""

from __future__ import annotations

import hashlib

from edgehemo_laboratory.chain import note
from edgehemo_laboratory.clock import now, seconds_of, text_of
from edgehemo_laboratory.enrolment.kiosks import Kiosk
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.pictures.store import PictureStore
from edgehemo_laboratory.storage.interface import Statements, Storage

MAX_POSITION = 10_000
_MOST_WORDS = 300


async def ask(storage: Storage, store: str, result_id: str, *, by: str) -> None:
    """Want the pictures of a result; its kiosk sends them with its next visit, if it may."""

    async def work(change: Statements) -> None:
        found = await change.rows(
            "SELECT k.pictures, k.name FROM result r JOIN records s ON s.store = r.store "
            "JOIN kiosk k ON k.number = s.kiosk WHERE r.store = $1 AND r.result_id = $2",
            store, result_id,
        )  # fmt: skip
        if not found:
            raise LaboratoryError(f"there is no result {result_id[:40]}")
        if found[0][0] == "never":
            raise LaboratoryError(f"no pictures are taken from {found[0][1]}: its policy says so")
        await change.do(
            "INSERT INTO wanted_pictures (store, result_id, by_whom, at) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (store, result_id) DO UPDATE SET by_whom = excluded.by_whom, "
            "at = excluded.at, settled_at = NULL, words = ''",
            store, result_id, by, text_of(now()),
        )  # fmt: skip
        await note(change, "pictures asked for", result_id, {"store": store}, by=by)

    await storage.change(work)


async def ask_for(storage: Storage, result_id: str, *, by: str) -> None:
    """The same by the result's identifier alone, which no two kiosks give alike."""
    found = await storage.rows("SELECT store FROM result WHERE result_id = $1", result_id)
    if not found:
        raise LaboratoryError(f"there is no result {result_id[:40]}")
    if len(found) > 1:
        raise LaboratoryError(f"{len(found)} kiosks have a result {result_id[:40]}")
    await ask(storage, found[0][0], result_id, by=by)


async def keep(
    storage: Storage,
    pictures: PictureStore,
    kiosk: Kiosk,
    data: bytes,
    *,
    store: str,
    result_id: str,
    position: int,
    sha256: str,
) -> bool:
    """Keep one picture of a result; whether its bytes are new here. LaboratoryError where it was
    not wanted, or is not what its digest says.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise LaboratoryError("the picture does not have the bytes of its digest")
    if not 0 <= position < MAX_POSITION:
        raise LaboratoryError("a result has no such picture")
    await _refuse_unwanted(storage, kiosk, store, result_id)
    # The bytes first: a row whose picture is not there would be a lie.
    new = await pictures.put(data, digest)

    async def work(change: Statements) -> None:
        added = await change.do(
            "INSERT INTO picture (store, result_id, position, sha256, bytes, came_at_s) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            store, result_id, position, digest, len(data), seconds_of(now()),
        )  # fmt: skip
        if added:
            told = {"store": store, "position": position, "sha256": digest}
            await note(
                change, "pictures received", result_id, told, by=kiosk.name, chain=kiosk.chain
            )

    await storage.change(work)
    return new


async def _refuse_unwanted(storage: Storage, kiosk: Kiosk, store: str, result_id: str) -> None:
    found = await storage.rows(
        "SELECT w.result_id FROM result r JOIN records s ON s.store = r.store "
        "LEFT JOIN wanted_pictures w ON w.store = r.store AND w.result_id = r.result_id "
        "AND w.settled_at IS NULL WHERE r.store = $1 AND r.result_id = $2 AND s.kiosk = $3",
        store, result_id, kiosk.number,
    )  # fmt: skip
    if not found:
        raise LaboratoryError("the laboratory has no such result of this kiosk")
    if found[0][0] is None and kiosk.pictures != "all":
        raise LaboratoryError("nobody asked for the pictures of this result")


async def settle(storage: Storage, kiosk: Kiosk, store: str, result_id: str, words: str) -> None:
    """The kiosk has sent what it would of a result. words: why it sent none, empty otherwise."""
    said = " ".join(words.split())[:_MOST_WORDS]

    async def work(change: Statements) -> None:
        own = await change.rows(
            "SELECT 1 FROM result r JOIN records s ON s.store = r.store "
            "WHERE r.store = $1 AND r.result_id = $2 AND s.kiosk = $3",
            store, result_id, kiosk.number,
        )  # fmt: skip
        if not own:
            raise LaboratoryError("the laboratory has no such result of this kiosk")
        at = text_of(now())
        await change.do(
            "INSERT INTO wanted_pictures (store, result_id, by_whom, at, settled_at, words) "
            "VALUES ($1, $2, 'policy', $3, $3, $4) "
            "ON CONFLICT (store, result_id) DO UPDATE SET settled_at = excluded.settled_at, "
            "words = excluded.words",
            store, result_id, at, said,
        )  # fmt: skip
        told = {"store": store, "words": said}
        await note(change, "pictures settled", result_id, told, by=kiosk.name, chain=kiosk.chain)

    await storage.change(work)
