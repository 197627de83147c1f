"""The columns of everything that an archive keeps as Parquet, and how a table becomes bytes."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from edgehemo_laboratory.errors import StorageError

# A table of an archive: Arrow's own, which has no types that can be checked.
Table = Any
Schema = Any
Row = Mapping[str, Any]

_TEXT, _WHOLE, _REAL, _YES = pa.string(), pa.int32(), pa.float64(), pa.bool_()

# Whose sample a field is of. What is empty was not told; patient: what samples of one person bear
# in common, a pseudonym.
_LABELS = (("site", _TEXT), ("kiosk", _TEXT), ("sample", _TEXT), ("patient", _TEXT))
# What a WHO grade depends on.
_PERSON = (
    ("age_years", _REAL),
    ("sex", _TEXT),
    ("pregnancy_trimester", _WHOLE),
    ("altitude_m", _REAL),
    ("smoker", _YES),
    ("cigarettes_per_day", _REAL),
)
PERSON_COLUMNS: tuple[str, ...] = tuple(name for name, _ in _PERSON)
# What an analyser measured of the sample.
_VALUES = (("hgb_g_per_l", _REAL), ("hct_l_per_l", _REAL), ("rbc_1e12_per_l", _REAL))
VALUE_COLUMNS: tuple[str, ...] = tuple(name for name, _ in _VALUES)

# item: what is to be read, the field with the profile and the scale it is read with. field: the
# digest of the picture's bytes, with the number of the page where it holds several. name: of the
# file; position: among the sample's. error: why a picture was set aside; then it is no field.
CATALOGUE = pa.schema(
    [
        ("item", _TEXT),
        ("field", _TEXT),
        ("sha256", _TEXT),
        ("page", _WHOLE),
        ("bytes", pa.int64()),
        ("format", _TEXT),
        ("width", _WHOLE),
        ("height", _WHOLE),
        ("name", _TEXT),
        ("position", _WHOLE),
        ("sample_key", _TEXT),
        *_LABELS,
        ("profile", _TEXT),
        ("um_per_px", _REAL),
        ("licence", _TEXT),
        ("simulated", _YES),
        *_PERSON,
        *_VALUES,
        ("origin", _TEXT),
        ("at_s", pa.int64()),
        ("ingest", _TEXT),
        ("error", _TEXT),
    ]
)
# A cell that a person named. x, y: its centre, px of the picture. by: a pseudonym.
NAMED = pa.schema(
    [
        ("field", _TEXT),
        ("x", _REAL),
        ("y", _REAL),
        ("kind", _TEXT),
        ("class", _TEXT),
        ("by", _TEXT),
        ("at_s", pa.int64()),
        ("ingest", _TEXT),
    ]
)
# The fields of a plan, by batch.
FIELD_PLAN = pa.schema(
    [
        ("batch", _WHOLE),
        ("item", _TEXT),
        ("field", _TEXT),
        ("sha256", _TEXT),
        ("page", _WHOLE),
        ("profile", _TEXT),
        ("um_per_px", _REAL),
    ]
)
# The samples of a plan, a row a field. item: the sample with all that its result depends on.
# part_plan, part_batch: where the field's reading lies.
SAMPLE_PLAN = pa.schema(
    [
        ("batch", _WHOLE),
        ("item", _TEXT),
        ("sample_key", _TEXT),
        *_LABELS,
        ("place", _WHOLE),
        ("field_item", _TEXT),
        ("sha256", _TEXT),
        ("page", _WHOLE),
        ("name", _TEXT),
        ("profile", _TEXT),
        ("um_per_px", _REAL),
        ("simulated", _YES),
        *_PERSON,
        ("part_plan", _WHOLE),
        ("part_batch", _WHOLE),
    ]
)
# status: read; unreadable, as `screen` says it of a picture; set aside, with what became of the
# reader. tries: how often it was begun. seconds: of the reading.
_OUTCOME = (
    ("plan", _WHOLE),
    ("batch", _WHOLE),
    ("status", _TEXT),
    ("error_kind", _TEXT),
    ("error", _TEXT),
    ("tries", _WHOLE),
    ("seconds", _REAL),
)
# rbc, wbc, platelet: interior counts. types: JSON, kind -> type -> how many. reading: all that was
# read, to the last digit, as `edgehemo.screening.resuming` keeps it, compressed.
FIELD_ROWS = pa.schema(
    [
        ("item", _TEXT),
        ("field", _TEXT),
        *_OUTCOME,
        ("accepted", _YES),
        ("failed", pa.list_(_TEXT)),
        ("width", _WHOLE),
        ("height", _WHOLE),
        ("um_per_px", _REAL),
        ("scale_source", _TEXT),
        ("focus", _REAL),
        ("rbc", _REAL),
        ("wbc", _REAL),
        ("platelet", _REAL),
        ("area_mm2", _REAL),
        ("types", _TEXT),
        ("hgb_index", _REAL),
        ("hct_index", _REAL),
        ("rbc_index", _REAL),
        ("reading", pa.binary()),
    ]
)
# looked_again: fields that were read anew, at their slide's scale. red_types: JSON, type -> share;
# white_types: JSON, type -> count. record: result.json as `edgehemo screen` writes it, compressed.
SAMPLE_ROWS = pa.schema(
    [
        ("item", _TEXT),
        ("sample_key", _TEXT),
        *_LABELS,
        *_OUTCOME,
        ("outcome", _TEXT),
        ("withheld", _TEXT),
        ("fields", _WHOLE),
        ("accepted", _WHOLE),
        ("refused", _WHOLE),
        ("unreadable", _WHOLE),
        ("looked_again", _WHOLE),
        ("counting_error", _REAL),
        ("rbc", _REAL),
        ("wbc", _REAL),
        ("platelet", _REAL),
        ("red_types", _TEXT),
        ("white_types", _TEXT),
        ("hgb_index", _REAL),
        ("hct_index", _REAL),
        ("rbc_index", _REAL),
        ("hgb_g_per_l", _REAL),
        ("hgb_low", _REAL),
        ("hgb_high", _REAL),
        ("hct_l_per_l", _REAL),
        ("hct_low", _REAL),
        ("hct_high", _REAL),
        ("rbc_1e12_per_l", _REAL),
        ("rbc_low", _REAL),
        ("rbc_high", _REAL),
        ("grade", _TEXT),
        ("record", pa.binary()),
    ]
)
# What no query needs, and most of the bytes.
HEAVY_COLUMNS = frozenset({"reading", "record"})
_COMPRESSION = "zstd"


def table_of(rows: Sequence[Row], schema: Schema) -> Table:
    """Rows as a table; a column that a row lacks is null there."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema)


def table_bytes(table: Table, *, rows_a_group: int | None = None) -> bytes:
    """A table as one Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=_COMPRESSION, row_group_size=rows_a_group)
    return sink.getvalue()


def light(columns: Collection[str]) -> list[str]:
    """The columns that queries need."""
    return [name for name in columns if name not in HEAVY_COLUMNS]


def read_table(data: Any, columns: Sequence[str] | None = None, **options: Any) -> Table:
    """A Parquet file's table: bytes, a path or an opened file. StorageError for what is none."""
    source = pa.BufferReader(data) if isinstance(data, bytes) else data
    try:
        return pq.read_table(source, columns=None if columns is None else list(columns), **options)
    except (pa.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise StorageError(f"a part of the archive cannot be read: {said}") from None
