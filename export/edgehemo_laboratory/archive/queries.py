"""DuckDB over an archive's tables: one connection, in memory, that reaches nothing else.

Nothing is stored that a query can say: which fields there are, what is still to be read, what a
reading came to are views over Parquet files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from edgehemo_laboratory.archive import layout
from edgehemo_laboratory.archive.layout import Stage
from edgehemo_laboratory.archive.place import Archive
from edgehemo_laboratory.archive.tables import (
    CATALOGUE,
    FIELD_PLAN,
    FIELD_ROWS,
    NAMED,
    PERSON_COLUMNS,
    SAMPLE_PLAN,
    SAMPLE_ROWS,
    Schema,
    Table,
    light,
    table_bytes,
)
from edgehemo_laboratory.errors import LaboratoryError

Rows = list[tuple[Any, ...]]

# Nothing is fetched, and nobody is asked: DuckDB loads extensions from its makers otherwise.
_SETTINGS = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "preserve_insertion_order": "false",
}
_PLANS = {"fields": FIELD_PLAN, "samples": SAMPLE_PLAN}
_ROWS = {"fields": FIELD_ROWS, "samples": SAMPLE_ROWS}


class Queries:
    """Views over an archive as it is now; `Queries.look_at` adds those of a reading.

    ``catalogue`` has every row, ``fields`` the newest of each field, ``broken`` the pictures that
    an ingest set aside, ``named`` the cells that people named.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._connection: Any = duckdb.connect(":memory:", config=_SETTINGS)
        # It would stand among a command's JSON.
        self.do("SET enable_progress_bar = false")
        self._view("catalogue", layout.CATALOGUE, CATALOGUE)
        self._view("named", layout.NAMED, NAMED)
        # Few fields are told anew: what is looked for is those, and not the newest of all.
        self.do(
            "CREATE VIEW told_anew AS SELECT field, max(ingest) AS newest FROM catalogue "
            "WHERE error IS NULL GROUP BY field HAVING count(*) > 1"
        )
        self.do(
            "CREATE VIEW fields AS SELECT * FROM catalogue c WHERE error IS NULL AND NOT EXISTS "
            "(SELECT 1 FROM told_anew t WHERE t.field = c.field AND t.newest <> c.ingest)"
        )
        self.do(
            "CREATE VIEW broken AS SELECT * FROM catalogue WHERE error IS NOT NULL "
            "AND field NOT IN (SELECT field FROM catalogue WHERE error IS NULL) "
            "QUALIFY row_number() OVER (PARTITION BY field ORDER BY ingest DESC) = 1"
        )

    def close(self) -> None:
        self._connection.close()

    def look_at(self, reading: str, name: str = "") -> None:
        """Add a reading's views, their names beginning with ``name``.

        Of each stage: ``..._plan``, every planned row; ``..._parts``, every row that was written;
        ``..._rows``, of each item the newest plan's, which counts. ``sample_fields``: the fields
        with what became of them. ``samples``: each sample as an item, with how many fields it has
        and of how many there are rows. ``samples_now``: the rows of these items.
        """
        for stage in layout.STAGES:
            self._view(f"{name}{stage}_plan", layout.plans_of(reading, stage), _PLANS[stage])
            self._files_view(f"{name}{stage}_parts", self._parts(reading, stage), _ROWS[stage])
            self.do(
                f"CREATE OR REPLACE VIEW {name}{stage}_again AS SELECT item, max(plan) AS newest "
                f"FROM {name}{stage}_parts GROUP BY item HAVING count(*) > 1"
            )
            self.do(
                f"CREATE OR REPLACE VIEW {name}{stage}_rows AS SELECT * FROM {name}{stage}_parts p "
                f"WHERE NOT EXISTS (SELECT 1 FROM {name}{stage}_again a WHERE a.item = p.item "
                "AND a.newest <> p.plan)"
            )
        self.do(
            f"CREATE OR REPLACE VIEW {name}sample_fields AS SELECT f.*, r.status, r.error_kind, "
            "r.plan AS part_plan, r.batch AS part_batch, r.accepted "
            f"FROM fields f LEFT JOIN {name}fields_rows r ON r.item = f.item"
        )
        # A sample with all that its result depends on, as one digest: its fields in their order
        # with what became of each, and the person.
        said = ", ".join(("item", "name", "status", *PERSON_COLUMNS))
        self.do(
            f"CREATE OR REPLACE VIEW {name}samples AS SELECT sample_key, count(*) AS fields, "
            "count(status) AS read, any_value(site) AS site, any_value(sample) AS sample, "
            "any_value(patient) AS patient, "
            f"sample_key || '@' || left(md5(string_agg(concat_ws('|', {said}), chr(10) "
            "ORDER BY position, name, field)), 16) AS item "
            f"FROM {name}sample_fields GROUP BY sample_key"
        )
        self.do(
            f"CREATE OR REPLACE VIEW {name}samples_now AS SELECT r.* FROM {name}samples_rows r "
            f"SEMI JOIN {name}samples s ON s.item = r.item"
        )

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """What a query gives. LaboratoryError, one line, where it cannot be answered."""
        with _told():
            found: Rows = self._connection.execute(sql, list(values)).fetchall()
            return found

    def one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The only row that a query gives."""
        (row,) = self.rows(sql, values)
        return row

    def table(self, sql: str, values: Sequence[Any] = ()) -> Table:
        """What a query gives, as an Arrow table."""
        with _told():
            return self._connection.sql(sql, params=list(values)).to_arrow_table()

    def do(self, sql: str) -> None:
        with _told():
            self._connection.execute(sql)

    def know(self, name: str, table: Table) -> None:
        """Let queries see an Arrow table under a name."""
        self._connection.register(name, table)

    def closed_to(self, folders: Sequence[Path]) -> None:
        """From now on read files of these folders alone, and let no query change that."""
        listed = ", ".join(_quoted(f"{folder}/") for folder in folders)
        self.do(f"SET allowed_directories = [{listed}]")
        self.do("SET enable_external_access = false")
        self.do("SET lock_configuration = true")

    def _view(self, name: str, prefix: str, schema: Schema) -> None:
        self._files_view(name, self._archive.table_keys(prefix), schema)

    def _files_view(self, name: str, keys: Sequence[str], schema: Schema) -> None:
        """A view over the light columns of Parquet objects."""
        wanted = ", ".join(f'"{column}"' for column in light(schema.names))
        files = self._archive.table_files(keys)
        if not files:
            self.know(f"{name}_empty", schema.empty_table())
            self.do(f"CREATE OR REPLACE VIEW {name} AS SELECT {wanted} FROM {name}_empty")
            return
        listed = ", ".join(_quoted(str(file)) for file in files)
        self.do(f"CREATE OR REPLACE VIEW {name} AS SELECT {wanted} FROM read_parquet([{listed}])")

    def _parts(self, reading: str, stage: Stage) -> list[str]:
        """The objects with a stage's rows: of finished plans the joined ones, else the parts."""
        joined = self._archive.table_keys(layout.joined_of(reading, stage))
        done = {layout.joined_number(key) for key in joined}
        for key in self._archive.table_keys(layout.plans_of(reading, stage)):
            number = layout.plan_number(key)
            if number is not None and number not in done:
                joined += self._archive.table_keys(layout.parts_of(reading, stage, number))
        return joined


def join_parts(archive: Archive, reading: str, stage: Stage, plan: int) -> None:
    """Join what queries need of a finished plan's parts; nothing where that was done."""
    key = layout.joined_key(reading, stage, plan)
    if archive.store.has(key):
        return
    opened = Queries(archive)
    try:
        opened._files_view(
            "parts", archive.table_keys(layout.parts_of(reading, stage, plan)), _ROWS[stage]
        )
        data = table_bytes(opened.table("SELECT * FROM parts ORDER BY batch, item"))
    finally:
        opened.close()
    archive.store.put_new(key, data)


@contextlib.contextmanager
def queries(archive: Archive, *readings: tuple[str, str]) -> Iterator[Queries]:
    """Queries over an archive. readings: each with what its views' names begin with."""
    opened = Queries(archive)
    try:
        for reading, name in readings:
            opened.look_at(reading, name)
        yield opened
    finally:
        opened.close()


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        said = " ".join(str(error).split())[:300]
        raise LaboratoryError(f"the archive cannot answer: {said}") from None


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
