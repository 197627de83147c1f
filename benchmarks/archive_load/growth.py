"""How it grows to ten million fields on a hundred nodes: a calculation from measured stages.

Nothing here was measured at that size. Each line says what it stands on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FIELDS, NODES, WORKERS_A_NODE = 10_000_000, 100, 16
BATCH, FIELDS_A_PLAN = 128, 500_000


def growth(
    stages: Mapping[str, Any], plans: Sequence[Mapping[str, Any]], scaling: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Hours, rates and sizes at `FIELDS` fields on `NODES` nodes."""
    workers = NODES * WORKERS_A_NODE
    efficiency = 1.0 if scaling is None else min(1.0, float(scaling["efficiency"]))
    a_field_s = stages["reading_cpu_ms"] / 1000
    a_part_s = (stages["part_made_cpu_ms"] + stages["s3_put_part_ms"]) / 1000
    samples_s = stages["sample_cpu_ms"] / 1000
    a_worker_s = (a_field_s + samples_s + a_part_s / BATCH) * FIELDS / workers / efficiency
    hours = a_worker_s / 3600
    fields_a_s = FIELDS / a_worker_s
    largest = max(plans, key=lambda each: each["fields"])
    planning_s = largest["plan_s"] * FIELDS / largest["fields"] * (FIELDS / FIELDS_A_PLAN)
    return {
        "fields": FIELDS,
        "nodes": NODES,
        "workers": workers,
        "reading_hours": round(hours, 2),
        "fields_a_s": round(fields_a_s),
        "planning_minutes": round(planning_s / 60, 1),
        "tasks": -(-FIELDS // BATCH),
        "tasks_a_s_needed": round(fields_a_s / BATCH, 1),
        "tasks_a_s_measured": stages["tasks_a_s"],
        "pictures_mb_a_s": round(fields_a_s * stages["bytes_a_field"] / 1e6),
        "pictures_tb": round(FIELDS * stages["bytes_a_field"] / 1e12, 1),
        "readings_gb": round(FIELDS * stages["part_bytes_a_field"] / 1e9),
        "put_a_s": round(fields_a_s / BATCH, 1),
    }
