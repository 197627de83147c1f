"""`edgehemo bundle`: the model bundles installed on this device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, UsageError

if TYPE_CHECKING:
    from edgehemo.bundle.bundle import Bundle
    from edgehemo.device.installed_bundles import BundleStore


@click.group()
def bundle() -> None:
    """Install, list, roll back and pack model bundles."""


@bundle.command()
@click.argument("source", type=click.Path(path_type=Path))
@common.json_option
def install(source: Path, json_file: str | None) -> int:
    """Check a bundle folder or ZIP and put it into use; the one before is kept.

    It must be signed by a key this device trusts, whole, and no older than what was installed.
    """
    from edgehemo.bundle.output import BundleEntry, BundleInstallOutput

    found = _store().install(source)
    _note(found)
    common.say(f"in use: {_line(found)}", json_file)
    common.write_json(json_file, BundleInstallOutput(bundle=BundleEntry.of(found)))
    return EXIT_DONE


@bundle.command(name="list")
@common.json_option
def list_(json_file: str | None) -> int:
    """The bundles on this device, the one in use first."""
    from edgehemo.bundle.bundle import load_bundle
    from edgehemo.bundle.output import BundleEntry, BundleListOutput, Role, StoredBundleEntry

    shipped = load_bundle()
    entries = []
    for item in _store().installed():
        role: Role = "in use" if item.current else "before" if item.previous else "left over"
        said = item.folder if item.bundle is None else _line(item.bundle)
        common.say(f"{role:<9} {said}" + (f"  {item.problem}" if item.problem else ""), json_file)
        entries.append(
            StoredBundleEntry.of(item.bundle, folder=item.folder, role=role, problem=item.problem)
        )
    common.say(f"{'shipped':<9} {_line(shipped)}", json_file)
    output = BundleListOutput(bundles=entries, shipped=BundleEntry.of(shipped))
    common.write_json(json_file, output)
    return EXIT_DONE


@bundle.command()
@common.json_option
def rollback(json_file: str | None) -> int:
    """Go back to the bundle that was in use before."""
    from edgehemo.bundle.output import BundleEntry, BundleRollbackOutput

    found = _store().rollback()
    _note(found)
    common.say(f"in use: {_line(found)}", json_file)
    common.write_json(json_file, BundleRollbackOutput(bundle=BundleEntry.of(found)))
    return EXIT_DONE


@bundle.command()
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
def pack(folder: Path, target: Path) -> int:
    """Put a bundle folder into one ZIP file, which `install` takes."""
    from edgehemo.bundle.packing import PACKED_SUFFIX, is_packed
    from edgehemo.device.installed_bundles import pack as packed

    if not is_packed(target):
        raise UsageError(f"{target.name}: a packed bundle's name ends in {PACKED_SUFFIX}")
    packed(folder, target)
    common.say(f"{target}: {target.stat().st_size / 1e6:.2f} MB")
    return EXIT_DONE


def _note(found: Bundle) -> None:
    from edgehemo.device.recorded import note_in_chain

    said = {"name": found.manifest.name, "serial": found.manifest.serial, "sha256": found.digest}
    note_in_chain("bundle changed", said)


def _store() -> BundleStore:
    from edgehemo.device.configuration import load_device
    from edgehemo.device.installed_bundles import BundleStore

    return BundleStore(load_device(None).data_dir)


def _line(found: Bundle) -> str:
    models = ", ".join(entry.task for entry in found.manifest.models)
    by = f", signed by {found.signed_by}" if found.signed_by else ""
    return f"{found.manifest.name} serial {found.manifest.serial} ({models}){by}"
