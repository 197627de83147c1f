"""`edgehemo kiosk`: the page on which a health worker screens a sample by touch."""

from __future__ import annotations

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE


@click.command()
@click.option(
    "--source",
    metavar="CAMERA",
    help="The camera: picamera2:0, uvc:/dev/video0 or simulated:. Default: the device "
    "configuration's, else the simulated microscope.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="Of the page on 127.0.0.1; 0 for any that is free. Default: the device configuration's.",
)
def kiosk(source: str | None, port: int | None) -> int:
    """Serve the kiosk's page on 127.0.0.1 until it is stopped.

    Beyond this device it is served only where the device configuration says so, by TLS and with a
    token. Everything goes on after a power cut where it was.
    """
    import asyncio

    try:
        from edgehemo.kiosk.running import run_kiosk
    except ModuleNotFoundError as error:
        from edgehemo.errors import MissingDependencyError

        raise MissingDependencyError(
            f'the kiosk needs {error.name}, which is not installed: pip install ".[kiosk]" in the '
            "folder of the source"
        ) from None
    from edgehemo.commands import logs
    from edgehemo.device.configuration import load_device
    from edgehemo.device.kiosk_log import log_path

    logs.keep_in(log_path(load_device(None)))
    logs.begun("edgehemo kiosk")
    asyncio.run(run_kiosk(source, port, said=lambda line: common.say(line, None)))
    return EXIT_DONE
