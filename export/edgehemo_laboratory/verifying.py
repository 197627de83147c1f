"""Whether what is stored holds together: the chains, the versions against them, the results
against the versions, the days' sums against the results, pictures and published files against their
digests.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable

from edgehemo_laboratory.chain import faults_of, note
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.intake.contents import contents_of, unpacked
from edgehemo_laboratory.output import VerifyOutput
from edgehemo_laboratory.pictures.store import PictureStore
from edgehemo_laboratory.steering.kept import faults_of_files
from edgehemo_laboratory.storage.interface import RESULT_COLUMNS, Storage

_AT_ONCE = 500
# Faults that are told; more say no more.
MOST_FAULTS = 200


async def verify(
    storage: Storage,
    pictures: PictureStore | None,
    *,
    by: str,
    advance: Callable[[], None] = lambda: None,
) -> VerifyOutput:
    """Look at everything. advance: called after each part of the work."""
    chains = [row[0] for row in await storage.rows("SELECT DISTINCT chain FROM audit ORDER BY 1")]
    faults: list[str] = []
    for chain in chains:
        faults += await faults_of(storage, chain)
        advance()
    versions, wrong = await _versions(storage, advance)
    faults += wrong
    faults += await _results(storage, advance)
    faults += await _days(storage)
    kept, wrong = await _pictures(storage, pictures, advance)
    faults += wrong
    faults += await faults_of_files(storage)
    advance()
    ((entries,),) = await storage.rows("SELECT count(*) FROM audit")

    await storage.change(
        lambda change: note(change, "storage verified", details={"faults": len(faults)}, by=by)
    )
    return VerifyOutput(
        chains=len(chains),
        entries=entries,
        versions=versions,
        pictures=kept,
        faults=faults[:MOST_FAULTS],
    )


async def _versions(storage: Storage, advance: Callable[[], None]) -> tuple[int, list[str]]:
    """Each version's bytes against its digest, and that its entry of the chain names it."""
    faults: list[str] = []
    count, after = 0, ""
    named: dict[tuple[str, int], set[str]] = {}
    while True:
        rows = await storage.rows(
            "SELECT v.identity, v.sha256, v.body, v.result_id, v.version, v.chain, v.entry, "
            "a.details FROM version v LEFT JOIN audit a ON a.chain = v.chain "
            "AND a.number = v.entry WHERE v.identity > $1 ORDER BY v.identity LIMIT $2",
            after, _AT_ONCE,
        )  # fmt: skip
        if not rows:
            return count, faults
        for identity, sha256, body, result_id, version, chain, entry, details in rows:
            called = f"{result_id} v{version}"
            try:
                bytes_there = unpacked(bytes(body))
            except zlib.error:
                bytes_there = b""
            if hashlib.sha256(bytes_there).hexdigest() != sha256 or identity != sha256:
                faults.append(f"{called} is not what came")
            key = (chain, entry)
            if key not in named:
                named = {key: set() if details is None else set(json.loads(details)["stored"])}
            if identity not in named[key]:
                faults.append(f"{called} is vouched for by no entry of the chain")
        count += len(rows)
        after = rows[-1][0]
        advance()


async def _results(storage: Storage, advance: Callable[[], None]) -> list[str]:
    """Each result against its newest version; a result for every version and the other way."""
    columns = list(RESULT_COLUMNS)
    faults: list[str] = []
    after = ("", "")
    while True:
        rows = await storage.rows(
            f"SELECT r.store, r.result_id, r.identity, v.body, {', '.join(f'r.{c}' for c in columns)} "  # noqa: E501
            "FROM result r LEFT JOIN version v ON v.identity = ("
            "SELECT n.identity FROM version n WHERE n.store = r.store "
            "AND n.result_id = r.result_id "
            "ORDER BY n.version DESC, n.changed_at DESC, n.identity DESC LIMIT 1) "
            "WHERE (r.store, r.result_id) > ($1, $2) ORDER BY r.store, r.result_id LIMIT $3",
            *after, _AT_ONCE,
        )  # fmt: skip
        if not rows:
            break
        for _store, result_id, identity, body, *values in rows:
            if body is None:
                faults.append(f"{result_id} has no version")
                continue
            whole = unpacked(bytes(body))
            digest = hashlib.sha256(whole).hexdigest()
            if identity != digest:
                faults.append(f"{result_id} is not at its newest version")
                continue
            try:
                there = contents_of(whole, identity=digest, sha256=digest).stored().columns
            except LaboratoryError as error:
                faults.append(f"{result_id}: {error}")
                continue
            if dict(zip(columns, values, strict=True)) != dict(there):
                faults.append(f"{result_id} does not say what its newest version says")
        after = (rows[-1][0], rows[-1][1])
        advance()
    ((lost,),) = await storage.rows(
        "SELECT count(*) FROM version v WHERE NOT EXISTS (SELECT 1 FROM result r "
        "WHERE r.store = v.store AND r.result_id = v.result_id)"
    )
    return faults + ([f"{lost} versions belong to no result"] if lost else [])


async def _days(storage: Storage) -> list[str]:
    """The days' sums against the results."""
    rows = await storage.rows(
        "SELECT r.store, r.counted_day FROM (SELECT store, counted_day, count(*) AS n, "
        "sum(CASE WHEN standing = 'given' THEN 1 ELSE 0 END) AS given FROM result "
        "GROUP BY store, counted_day) AS r LEFT JOIN result_day d ON d.store = r.store "
        "AND d.day = r.counted_day WHERE d.results IS NULL OR d.results <> r.n "
        "OR d.given <> r.given ORDER BY 1, 2"
    )
    return [f"the sums of {day} of records {store[:8]} are wrong" for store, day in rows]


async def _pictures(
    storage: Storage, pictures: PictureStore | None, advance: Callable[[], None]
) -> tuple[int, list[str]]:
    rows = await storage.rows("SELECT DISTINCT sha256 FROM picture ORDER BY 1")
    if pictures is None:
        said = f"{len(rows)} pictures are noted and no place of pictures is set up"
        return 0, [said] if rows else []
    faults = []
    for (digest,) in rows:
        if await pictures.get(digest) is None:
            faults.append(f"picture {digest[:12]} is missing or damaged in {pictures.about}")
        advance()
    return len(rows), faults
