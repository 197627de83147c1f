"""Fields come in: each picture once, under the digest of its bytes, with one part of the catalogue
an ingest, whole or not at all.

The pictures are put first. An ingest that is killed leaves pictures that no catalogue names, and is
simply run again.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from edgehemo.errors import EdgeHemoError
from edgehemo.images.reading import picture_of
from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.output import BrokenPicture, IngestOutput
from edgehemo_laboratory.archive.place import Archive
from edgehemo_laboratory.archive.queries import Queries
from edgehemo_laboratory.archive.sources import Arrival, Labels, LeftOut
from edgehemo_laboratory.archive.tables import (
    CATALOGUE,
    NAMED,
    PERSON_COLUMNS,
    VALUE_COLUMNS,
    read_table,
    table_bytes,
    table_of,
)
from edgehemo_laboratory.clock import now, seconds_of
from edgehemo_laboratory.pictures.store import key_of

# Threads that read, look at and put pictures; what they do waits, or leaves Python's lock alone.
THREADS = 4
# Rows that are in memory before they go to a file.
_ROWS_AT_ONCE = 5000
# Broken pictures that are told one by one; more say no more.
MOST_TOLD = 100
# What a field's row says of its sample; a known field of which something else is said is told.
_SAID = (
    "site", "kiosk", "sample", "patient", "profile", "um_per_px", "licence", "simulated",
    *PERSON_COLUMNS, *VALUE_COLUMNS,
)  # fmt: skip


# The time in an ingest's name, which orders them.
_STAMP = "%Y%m%dT%H%M%S%f"
_ONE_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Looked:
    """A picture that was looked at. fields: page, width and height of each. error: why it is
    broken, then it has none.
    """

    arrival: Arrival
    sha256: str
    size: int
    format: str
    fields: tuple[tuple[int, int, int], ...]
    error: str | None


def ingest(
    archive: Archive,
    items: Iterable[Arrival | LeftOut],
    *,
    update: bool = False,
    whole: bool = True,
    advance: Callable[[], None] = lambda: None,
) -> IngestOutput:
    """Take pictures into an archive.

    update: of a field that is known, what is said now counts from now on. whole: decode each
    picture, so that a broken one is noticed; without it the header alone is read. advance: called
    after each picture. StorageError, and nothing noted in the catalogue, where the archive cannot
    be written.
    """
    called = _named_after(archive.table_keys(layout.CATALOGUE) + archive.table_keys(layout.NAMED))
    at_s = seconds_of(now())
    left_out: list[LeftOut] = []
    broken: list[BrokenPicture] = []
    named: list[dict[str, Any]] = []
    looked_at = unreadable = 0
    with tempfile.TemporaryDirectory(prefix="edgehemo-ingest-") as name:
        file = Path(name) / "rows.parquet"
        with pq.ParquetWriter(file, CATALOGUE) as writer:
            rows: list[dict[str, Any]] = []
            for item in _looked(archive, items, whole):
                if isinstance(item, LeftOut):
                    left_out.append(item)
                    continue
                looked_at += 1
                advance()
                if item.error is not None:
                    unreadable += 1
                    if len(broken) < MOST_TOLD:
                        told = item.arrival
                        broken.append(
                            BrokenPicture(
                                name=told.name, sample=told.labels.sample, error=item.error
                            )
                        )
                rows += _rows(item, called, at_s)
                named += _named(item, called, at_s)
                if len(rows) >= _ROWS_AT_ONCE:
                    writer.write_table(table_of(rows, CATALOGUE))
                    rows = []
            writer.write_table(table_of(rows, CATALOGUE))
        counts = _noted(archive, file, called, update)
    if named:
        archive.store.put_new(
            f"{layout.NAMED}{called}.parquet", table_bytes(table_of(named, NAMED))
        )
    return IngestOutput(
        archive=archive.about,
        pictures=looked_at,
        broken_count=unreadable,
        broken=broken,
        left_out=[f"{item.name}: {item.reason}" for item in left_out[:MOST_TOLD]],
        named_cells=len(named),
        **counts,
    )


def _named_after(keys: Sequence[str]) -> str:
    """What an ingest is called: later in order than all before it, also within one second and after
    a clock went back, since the last word on a field counts.
    """
    at = now()
    if keys:
        stamp = max(Path(key).name.partition("-")[0] for key in keys)
        at = max(at, datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC) + _ONE_TICK)
    return f"{at:{_STAMP}}-{uuid.uuid4().hex[:8]}"


def item_of(field: str, profile: str | None, um_per_px: float | None) -> str:
    """What is to be read: a field, with the profile and the scale that it is read with."""
    if profile is None and um_per_px is None:
        return field
    said = hashlib.sha256(f"{profile or ''}|{um_per_px!r}".encode()).hexdigest()
    return f"{field}@{said[:12]}"


def field_of(sha256: str, page: int) -> str:
    """What a field is called: its picture's digest, and the page where it is not the first."""
    return sha256 if page == 0 else f"{sha256}.{page}"


def sample_key(site: str | None, kiosk: str | None, sample: str) -> str:
    """What tells one sample from all others: its name and where it was taken."""
    text = json.dumps([site, kiosk, sample], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _looked(
    archive: Archive, items: Iterable[Arrival | LeftOut], whole: bool
) -> Iterator[_Looked | LeftOut]:
    """Every item in its order, a few of them looked at and put at once."""
    with ThreadPoolExecutor(THREADS) as pool:
        waiting: deque[LeftOut | Future[_Looked]] = deque()
        try:
            for item in items:
                waiting.append(
                    item if isinstance(item, LeftOut) else pool.submit(_taken, archive, item, whole)
                )
                if len(waiting) > 2 * THREADS:
                    yield _done(waiting.popleft())
            while waiting:
                yield _done(waiting.popleft())
        finally:
            for each in waiting:
                if isinstance(each, Future):
                    each.cancel()


def _done(item: LeftOut | Future[_Looked]) -> _Looked | LeftOut:
    return item if isinstance(item, LeftOut) else item.result()


def _taken(archive: Archive, arrival: Arrival, whole: bool) -> _Looked:
    """Look at a picture and put it into the archive where it is whole."""
    try:
        data = arrival.load()
    except (OSError, EdgeHemoError) as error:
        said = getattr(error, "strerror", None) or str(error)
        return _Looked(arrival, "", 0, "", (), f"cannot be opened ({said})")
    digest = hashlib.sha256(data).hexdigest()
    try:
        picture = picture_of(data, arrival.name)
        fields = []
        for page in range(len(picture)):
            header = picture.layout.headers[page]
            size = (header.width, header.height)
            if whole:
                frame = picture.frame(page)
                size = (frame.width, frame.height)
            fields.append((page, *size))
    except EdgeHemoError as error:
        said = str(error).removeprefix(f"{arrival.name}: ")
        return _Looked(arrival, digest, len(data), "", (), said)
    archive.store.put_new(key_of(digest), data)
    kind = picture.layout.headers[0].format
    return _Looked(arrival, digest, len(data), kind, tuple(fields), None)


def _rows(looked: _Looked, called: str, at_s: int) -> list[dict[str, Any]]:
    arrival, labels = looked.arrival, looked.arrival.labels
    common = {
        "sha256": looked.sha256,
        "bytes": looked.size,
        "format": looked.format,
        "name": arrival.name,
        "position": arrival.position,
        "sample_key": sample_key(labels.site, labels.kiosk, labels.sample),
        **_said_of(labels),
        "origin": arrival.origin,
        "at_s": at_s,
        "ingest": called,
        "error": looked.error,
    }
    if looked.error is not None:
        return [{**common, "field": looked.sha256}] if looked.sha256 else []
    found = []
    for page, width, height in looked.fields:
        field = field_of(looked.sha256, page)
        own = {
            "item": item_of(field, labels.profile, labels.um_per_px),
            "field": field,
            "page": page,
            "width": width,
            "height": height,
        }
        if len(looked.fields) > 1:
            own["name"] = f"{arrival.name}#page={page + 1}"
        found.append({**common, **own})
    return found


def _said_of(labels: Labels) -> dict[str, Any]:
    return {
        "site": labels.site,
        "kiosk": labels.kiosk,
        "sample": labels.sample,
        "patient": labels.patient,
        "profile": labels.profile,
        "um_per_px": labels.um_per_px,
        "licence": labels.licence,
        "simulated": labels.simulated,
        **{name: labels.person.get(name) for name in PERSON_COLUMNS},
        **{name: labels.values.get(name) for name in VALUE_COLUMNS},
    }


def _named(looked: _Looked, called: str, at_s: int) -> list[dict[str, Any]]:
    if looked.error is not None:
        return []
    return [
        {
            "field": looked.sha256, "x": cell.x, "y": cell.y, "kind": cell.kind,
            "class": cell.name, "by": cell.by, "at_s": at_s, "ingest": called,
        }
        for cell in looked.arrival.named
    ]  # fmt: skip


def _noted(archive: Archive, file: Path, called: str, update: bool) -> dict[str, Any]:
    """Put the part of the catalogue, with what is new; what there was of each kind."""
    queries = Queries(archive)
    try:
        queries.do(
            f"CREATE TEMP TABLE came AS SELECT *, row_number() OVER (PARTITION BY field, "
            f"error IS NULL ORDER BY file_row_number) AS again FROM "
            f"read_parquet('{file}', file_row_number = true)"
        )
        differs = " OR ".join(f"c.{name} IS DISTINCT FROM f.{name}" for name in _SAID)
        queries.do(
            "CREATE TEMP TABLE known AS SELECT c.field, "
            f"({differs}) AS differs FROM came c JOIN fields f ON f.field = c.field "
            "WHERE c.error IS NULL AND c.again = 1"
        )
        wanted = (
            "SELECT * EXCLUDE (again, file_row_number) FROM came c WHERE again = 1 AND "
            "((error IS NOT NULL AND field NOT IN (SELECT field FROM broken)) OR (error IS NULL "
            "AND (field NOT IN (SELECT field FROM known) "
            f"OR ({str(update).lower()} AND field IN (SELECT field FROM known WHERE differs)))))"
        )
        new, samples = queries.one(
            f"SELECT count(*) FILTER (error IS NULL AND field NOT IN (SELECT field FROM known)), "
            f"count(DISTINCT sample_key) FILTER (error IS NULL) FROM ({wanted})"
        )
        known, differing = queries.one("SELECT count(*), count(*) FILTER (differs) FROM known")
        (doubled,) = queries.one("SELECT count(*) FROM came WHERE again > 1 AND error IS NULL")
        part = queries.table(f"{wanted} ORDER BY site, kiosk, sample, position, field")
    finally:
        queries.close()
    key = None
    if part.num_rows:
        key = f"{layout.CATALOGUE}{called}.parquet"
        archive.store.put_new(key, table_bytes(part.cast(CATALOGUE)))
    return {
        "part": key,
        "new": new,
        "known": known,
        "updated": differing if update else 0,
        "differing": 0 if update else differing,
        "doubled": doubled,
        "samples": samples,
    }


def catalogue_of(archive: Archive, key: str) -> Any:
    """One part of the catalogue, as a table."""
    data = archive.store.get(key)
    return None if data is None else read_table(data)
