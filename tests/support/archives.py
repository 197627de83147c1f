"""Archives for tests: slides that are drawn, an archive of them, readers that pictures end."""

from __future__ import annotations

import contextlib
import json
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from edgehemo.bundle.bundle import load_bundle
from edgehemo.capture import frames
from edgehemo.files.atomic import write_bytes_atomically
from edgehemo.images.frame import Frame
from edgehemo.report.pictures import png
from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.apart import READER, ReaderSetting
from edgehemo_laboratory.archive.equipment import ReadingFile, begun_reading
from edgehemo_laboratory.archive.ingest import ingest
from edgehemo_laboratory.archive.output import IngestOutput
from edgehemo_laboratory.archive.parts import Job, read_batch
from edgehemo_laboratory.archive.place import Archive, open_archive
from edgehemo_laboratory.archive.plan import batches_of, next_work
from edgehemo_laboratory.archive.sources import Given, Labels, arrivals
from edgehemo_laboratory.archive.tables import read_table

POISONED_READER = "tests.support.poisoned_reader"
# What a poisoned reader does with a field, by its digest; the file that says it.
POISON_FILE = "EDGEHEMO_TEST_POISON"


def draw_slide(folder: Path, seed: int, *, fields: int = 4, bad: int = 1, hgb: int = 110) -> Path:
    """A folder with the fields of one simulated slide."""
    spec = f"simulated:?seed={seed}&fields={fields}&bad={bad}&hgb={hgb}"
    for number, frame in enumerate(frames([spec], limit=fields), start=1):
        assert isinstance(frame, Frame)
        write_bytes_atomically(folder / f"field_{number}.png", png(frame.pixels))
    return folder


def archive_of(where: Path | str, *sources: Path, **labels: Any) -> tuple[Archive, IngestOutput]:
    """An archive with these folders in it."""
    archive = open_archive(str(where), make=True)
    profiles = labels.pop("profiles", ())
    given = Given(Labels(sample="", simulated=True, **labels), None, profiles=frozenset(profiles))
    return archive, ingest(archive, arrivals(sources, given))


def job_of(
    archive: Archive, *, limit_s: float = 60.0, tries: int = 2, module: str = READER
) -> tuple[ReadingFile, Job]:
    """A reading with the shipped bundle."""
    bundle = load_bundle(None)
    file = begun_reading(archive, bundle)
    setting = ReaderSetting(
        archive=archive.where,
        bundle=None,
        bundle_sha256=bundle.digest,
        networks=(),
        limit_s=limit_s,
        tries=tries,
        module=module,
    )
    # The bundle's folder is looked for in a cache where it is not said.
    return file, Job(file.reading, setting)


def read_here(archive: Archive, job: Job, batch_fields: int = 4) -> None:
    """Read everything in this process, without any cluster."""
    for stage in layout.STAGES:
        while work := next_work(archive, job.reading, stage, batch_fields=batch_fields):
            for batch, rows in batches_of(archive, job.reading, work):
                read_batch(job, stage, work.plan, batch, rows)


def records_of(archive: Archive, reading: str) -> Mapping[str, dict[str, Any]]:
    """Sample -> its newest result as `edgehemo screen` writes it, with ``looked_again``."""
    found: dict[str, dict[str, Any]] = {}
    for key in archive.table_keys(layout.parts_of(reading, "samples")):
        data = archive.store.get(key)
        for row in read_table(data).to_pylist():
            record = json.loads(zlib.decompress(row["record"])) if row["record"] else {}
            found[row["sample"]] = record | {"looked_again": row["looked_again"]}
    return found


@contextlib.contextmanager
def nobody() -> Iterator[Any]:
    """Where no worker may be asked for."""
    raise AssertionError("a run without work started workers")
    yield


def no_cluster() -> AbstractContextManager[Any]:
    return nobody()
