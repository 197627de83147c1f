"""`edgehemo bench`: how long each stage and each artefact takes here, and which to use."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common

if TYPE_CHECKING:
    from collections.abc import Collection

    from edgehemo.bench.artefacts import ArtefactTime, Lacking, Recommendation
    from edgehemo.device.equipment import Equipment

DEFAULT_RUNS = 20


@click.command()
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Time on these images instead of a simulated 640x480 field; may be repeated.",
)
@click.option("--runs", type=click.IntRange(min=1), default=DEFAULT_RUNS, show_default=True)
@click.option(
    "--threads",
    "thread_counts",
    multiple=True,
    type=click.IntRange(1, 64),
    help="Threads to time the artefacts with; may be repeated [default: 1 and the device's].",
)
@click.option(
    "--write/--no-write",
    default=True,
    help="Write the choice into this device's configuration, where BUNDLE is not given.",
)
@common.scale_option
@common.json_option
def bench(
    bundle: Path | None,
    images: tuple[Path, ...],
    runs: int,
    thread_counts: tuple[int, ...],
    write: bool,
    um_per_px: float | None,
    json_file: str | None,
) -> int:
    """Time a screening on this machine with BUNDLE (default: the device's).

    First each stage of one field as a screening here takes it, and what the networks would add that
    it runs only where they are asked for; then every artefact of the bundle in each runtime that is
    installed, in a process of its own; says which to use here, and where the bundle lacks a
    precision that is likely faster on this processor.
    """
    from edgehemo.bench.output import (
        ArtefactTimeEntry,
        BenchOutput,
        RecommendationEntry,
        RuntimeEntry,
        TimedImage,
    )
    from edgehemo.bench.stages import (
        CELLS_STAGES,
        NETWORK_STAGE,
        machine,
        on_request,
        passes,
        stage_times,
    )
    from edgehemo.demo.demonstration import sample_image
    from edgehemo.device.equipment import open_equipment
    from edgehemo.estimate.network import NETWORK_TASKS
    from edgehemo.inference.worker import peak_memory_mb

    started_s = time.perf_counter()
    equipment = open_equipment(bundle, None)
    wanted = equipment.networks_wanted()
    others = tuple(task for task in NETWORK_TASKS if task not in wanted)
    reader = equipment.reader(um_per_px, networks=wanted)
    opened_ms = 1e3 * (time.perf_counter() - started_s)
    data = [path.read_bytes() for path in images] or [sample_image()]
    with common.Progress("stages", passes(runs)) as bar:
        stages = stage_times(data, reader, runs=runs, tell=bar.advance)
    held_mb = peak_memory_mb()

    runner = equipment.finder.runner
    whole_ms = sum(stage.median_ms for stage in stages)
    cells_ms = sum(stage.median_ms for stage in stages if stage.stage in CELLS_STAGES)
    network_share = next(stage.share for stage in stages if stage.stage == NETWORK_STAGE)
    here = machine()
    threads = equipment.device.inference.threads
    on = "a simulated 640x480 field" if not images else f"{len(images)} given image(s)"
    common.say(f"{here['board']}, {here['architecture']}, Python {here['python']}", json_file)
    common.say(f"{runner.name} {runner.version}, {threads} threads; {runs} runs on {on}", json_file)
    common.say(f"{'stage':<18}{'median ms':>10}{'p95 ms':>10}{'share':>8}", json_file)
    for stage in stages:
        common.say(
            f"{stage.stage:<18}{stage.median_ms:>10.2f}{stage.p95_ms:>10.2f}{stage.share:>8.0%}",
            json_file,
        )
    common.say(
        f"{'one field':<18}{whole_ms:>10.2f}   of which the network {network_share:.0%}", json_file
    )
    common.say(
        f"{'its cells':<18}{cells_ms:>10.2f}   {CELLS_STAGES[0]} to {CELLS_STAGES[-1]}", json_file
    )
    asked = []
    if others:
        beside = replace(reader, networks=equipment.open_networks(others))
        with common.Progress("networks", passes(runs)) as bar:
            asked = on_request(data, beside, field_ms=whole_ms, runs=runs, tell=bar.advance)
    for row in asked:
        common.say(
            f"{row.stage:<18}{row.median_ms:>10.2f}{row.p95_ms:>10.2f}{row.share:>8.0%}   more, "
            "only where it is asked for",
            json_file,
        )
    counts = sorted(set(thread_counts or (1, threads)))
    held = equipment.bundle
    running = {held.graph(e.task)[0].name for e in held.manifest.models if e.task not in others}
    rows, choice, lacks = _artefacts(equipment, running, counts, runs, json_file)
    if choice is not None and write and bundle is None:
        _write_choice(choice, json_file)
    timed_on = [path.name for path in images] or ["simulated 640x480 field"]
    common.write_json(
        json_file,
        BenchOutput(
            machine=here,
            runtime=RuntimeEntry(name=runner.name, version=runner.version, threads=threads),
            bundle_sha256=equipment.bundle.digest,
            images=[TimedImage(image=name) for name in timed_on],
            runs=runs,
            open_ms=round(opened_ms, 1),
            peak_memory_mb=round(held_mb, 1),
            stages=[stage.rounded() for stage in stages],
            field_ms=round(whole_ms, 3),
            cells_ms=round(cells_ms, 3),
            network_share=round(network_share, 4),
            on_request=[row.rounded() for row in asked],
            lacking=lacks,
            artefacts=[ArtefactTimeEntry.of(row) for row in rows],
            recommended=None if choice is None else RecommendationEntry.of(choice),
        ),
    )
    return 0


def _artefacts(
    equipment: Equipment,
    running: Collection[str],
    threads: list[int],
    runs: int,
    json_file: str | None,
) -> tuple[list[ArtefactTime], Recommendation | None, list[Lacking]]:
    """Time every artefact and say it; the choice for this board, and what the bundle lacks for it.

    running: names of the models that a screening runs here.
    """
    from edgehemo.bench.artefacts import lacking, recommended, time_artefacts
    from edgehemo.inference.processor import byte_dot_products, family

    bundle = equipment.bundle
    total = len(threads) * sum(len(entry.artefacts) for entry in bundle.manifest.models)
    with common.Progress("artefacts", total) as bar:
        rows = time_artefacts(bundle, threads=threads, runs=runs, tell=bar.advance)
    common.say(
        f"\n{'model':<16}{'runtime':<24}{'precision':<10}{'threads':>8}{'median ms':>11}"
        f"{'p95 ms':>9}{'cold ms':>9}{'MB held':>9}",
        json_file,
    )
    for row in rows:
        if row.problem is not None:
            common.say(
                f"{row.model:<16}{row.format:<24}{row.precision:<10}{row.problem}", json_file
            )
            continue
        common.say(
            f"{row.model:<16}{row.runtime or '':<24}{row.precision:<10}{row.threads:>8}"
            f"{row.median_ms:>11.2f}{row.p95_ms:>9.2f}{row.cold_start_ms:>9.0f}"
            f"{row.peak_memory_mb:>9.0f}",
            json_file,
        )
    choice = recommended(rows, running)
    if choice is not None:
        common.say(
            f"use here: {choice.format} {choice.precision}, {choice.threads} thread(s)", json_file
        )
    lacks = lacking(
        bundle,
        equipment.device.inference.runtime if choice is None else choice.format,
        running,
        family=family(),
        dot_products=byte_dot_products(),
    )
    for reason in dict.fromkeys(item.reason for item in lacks):
        names = ", ".join(item.model for item in lacks if item.reason == reason)
        common.say(
            f"{reason}, and the bundle does not hold it of {names}: have it exported with "
            f"--{lacks[0].precision}, then run bench again",
            json_file,
        )
    warm = [row.celsius for row in rows if row.celsius is not None]
    if warm:
        common.say(f"processor at most {max(warm):.0f} °C", json_file)
    if any(row.throttled for row in rows):
        common.say("the board throttled while it was timed; see `edgehemo doctor`", json_file)
    return rows, choice, lacks


def _write_choice(choice: Recommendation, json_file: str | None) -> None:
    """Into the file that configures this device; a device without one keeps its defaults."""
    from edgehemo.device.configuration import DeviceConfiguration, configured_path, with_inference
    from edgehemo.errors import DeviceError
    from edgehemo.files.atomic import write_text_atomically
    from edgehemo.files.lock import locked

    path = configured_path()
    if path is None:
        return
    with locked(path, DeviceError):
        text = with_inference(
            path.read_text(encoding="utf-8"),
            runtime=choice.format,
            precision=choice.precision,
            threads=choice.threads,
        )
        DeviceConfiguration.parse(text, str(path))
        write_text_atomically(path, text)
    common.say(f"written to {path}", json_file)
