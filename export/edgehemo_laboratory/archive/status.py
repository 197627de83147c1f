"""What is in an archive, by which bundles it was read, and whether every item has one row."""

from __future__ import annotations

from collections.abc import Sequence

from edgehemo_laboratory.archive.equipment import ReadingFile, reading_files
from edgehemo_laboratory.archive.output import ReadingEntry, SetAside, SiteEntry, StatusOutput
from edgehemo_laboratory.archive.place import Archive
from edgehemo_laboratory.archive.queries import Queries, queries

# Items that were set aside, or that are missing, that are told one by one.
MOST_TOLD = 100


def status(archive: Archive, wanted: Sequence[str] = ()) -> StatusOutput:
    """What there is. wanted: readings by their bundle's digest or what it begins with; all where
    none is named.
    """
    readings = [
        file
        for file in reading_files(archive)
        if not wanted or any(file.bundle_sha256.startswith(each) for each in wanted)
    ]
    with queries(archive) as asked:
        entries = [reading_entry(asked, file) for file in readings]
        fields, samples, size = asked.one(
            "SELECT count(*), count(DISTINCT sample_key), 0 FROM fields"
        )
        (size,) = asked.one(
            "SELECT coalesce(sum(bytes), 0)::BIGINT FROM "
            "(SELECT any_value(bytes) AS bytes FROM fields GROUP BY sha256)"
        )
        sites = asked.rows(
            "SELECT site, count(*), count(DISTINCT sample_key) FROM fields GROUP BY site "
            "ORDER BY site NULLS LAST"
        )
        (broken,) = asked.one("SELECT count(*) FROM broken")
        (named,) = asked.one("SELECT count(*) FROM named")
    return StatusOutput(
        archive=archive.about,
        fields=fields,
        samples=samples,
        bytes=size,
        broken=broken,
        named_cells=named,
        sites=[SiteEntry(site=site, fields=count, samples=of) for site, count, of in sites],
        readings=entries,
    )


def reading_entry(asked: Queries, file: ReadingFile) -> ReadingEntry:
    """How far a reading is, counted in its rows."""
    asked.look_at(file.reading)
    counted = {
        stage: asked.one(
            f"SELECT count(*), count(*) FILTER (r.status = 'read'), "
            f"count(*) FILTER (r.status = 'unreadable'), count(*) FILTER (r.status = 'set aside'), "
            f"count(*) FILTER (r.status IS NULL) FROM {items} i LEFT JOIN {stage}_rows r "
            "ON r.item = i.item"
        )
        for stage, items in (("fields", "fields"), ("samples", "samples"))
    }
    twice = sum(
        asked.one(
            f"SELECT count(*) FROM (SELECT item FROM {stage}_parts GROUP BY item, plan "
            f"HAVING count(*) > 1)"
        )[0]
        + asked.one(
            f"SELECT count(*) FROM (SELECT item FROM {stage}_parts WHERE status <> 'set aside' "
            "GROUP BY item HAVING count(*) > 1)"
        )[0]
        for stage in counted
    )
    fields, read, unreadable, aside, waiting = counted["fields"]
    samples, samples_read, _, samples_aside, samples_waiting = counted["samples"]
    return ReadingEntry(
        reading=file.reading,
        bundle=file.bundle,
        bundle_sha256=file.bundle_sha256,
        software_version=file.versions.get("edgehemo", ""),
        begun_at=file.begun_at,
        fields=fields,
        read=read,
        unreadable=unreadable,
        set_aside=aside,
        waiting=waiting,
        samples=samples,
        samples_read=samples_read,
        samples_set_aside=samples_aside,
        samples_waiting=samples_waiting,
        twice=twice,
        aside=_aside(asked),
    )


def missing(asked: Queries) -> list[str]:
    """Fields and samples that have no row, as far as they are told one by one."""
    rows = asked.rows(
        "SELECT f.name || ' of ' || f.sample FROM fields f ANTI JOIN fields_rows r "
        "ON r.item = f.item ORDER BY f.sample, f.position LIMIT ?",
        [MOST_TOLD],
    )
    rows += asked.rows(
        "SELECT 'sample ' || s.sample FROM samples s ANTI JOIN samples_rows r ON r.item = s.item "
        "ORDER BY s.sample LIMIT ?",
        [MOST_TOLD],
    )
    return [str(row[0]) for row in rows][:MOST_TOLD]


def _aside(asked: Queries) -> list[SetAside]:
    rows = asked.rows(
        "SELECT r.item, f.name || ' of ' || f.sample, f.site, r.error_kind, r.error, r.tries "
        "FROM fields f JOIN fields_rows r ON r.item = f.item WHERE r.status = 'set aside' "
        "UNION ALL SELECT r.item, 'sample ' || s.sample, s.site, r.error_kind, r.error, r.tries "
        "FROM samples s JOIN samples_rows r ON r.item = s.item WHERE r.status = 'set aside' "
        "ORDER BY 2 LIMIT ?",
        [MOST_TOLD],
    )
    return [
        SetAside(item=item, name=name, site=site, kind=kind, error=error, tries=tries)
        for item, name, site, kind, error, tries in rows
    ]
