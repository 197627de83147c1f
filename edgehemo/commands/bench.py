"""`edgehemo bench`: how long each stage takes here, and which share is the network's."""

from __future__ import annotations

import time
from pathlib import Path

import click

from edgehemo.commands import common

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
@common.scale_option
@common.json_option
def bench(
    bundle: Path | None,
    images: tuple[Path, ...],
    runs: int,
    um_per_px: float | None,
    json_file: str | None,
) -> int:
    """Time each stage of a screening on this machine with BUNDLE (default: the device's)."""
    from edgehemo.benchmark import NETWORK_STAGE, machine, peak_memory_mb, stage_times
    from edgehemo.demo import sample_image
    from edgehemo.opening import open_equipment

    started_s = time.perf_counter()
    equipment = open_equipment(bundle, None)
    opened_ms = 1e3 * (time.perf_counter() - started_s)
    data = [path.read_bytes() for path in images] or [sample_image()]
    stages = stage_times(data, equipment.finder, runs=runs, um_per_px=um_per_px)

    runner = equipment.finder.runner
    whole_ms = sum(stage.median_ms for stage in stages)
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
    common.write_json(
        json_file,
        "bench",
        {
            "machine": here,
            "runtime": {"name": runner.name, "version": runner.version, "threads": threads},
            "bundle_sha256": equipment.bundle.digest,
            "images": [{"image": path.name} for path in images]
            or [{"image": "simulated 640x480 field"}],
            "runs": runs,
            "open_ms": round(opened_ms, 1),
            "peak_memory_mb": round(peak_memory_mb(), 1),
            "stages": [stage.as_json() for stage in stages],
            "field_ms": round(whole_ms, 3),
            "network_share": round(network_share, 4),
        },
    )
    return 0
