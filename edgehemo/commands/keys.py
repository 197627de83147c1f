"""`edgehemo keys`: the keys that sign model bundles and those this device trusts."""

from __future__ import annotations

from pathlib import Path

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE


@click.group()
def keys() -> None:
    """Make signing keys; list, add and remove the keys this device trusts."""


@keys.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the two halves [default: this user's key folder].",
)
@click.option("--name", help="Name of the key, in its files and in what it signs.")
def new(out: Path | None, name: str | None) -> int:
    """Make a key pair. Keep the private half (.key) to yourself and out of every bundle.

    Copy the public half (.pub) into the key folder of each device that is to trust its bundles.
    """
    from edgehemo.bundle.signatures import DEFAULT_KEY_NAME, new_key, own_key_folder

    private, public = new_key(out or own_key_folder(), name or DEFAULT_KEY_NAME)
    common.say(f"private: {private}")
    common.say(f"public:  {private.with_suffix('.pub')}  {public.identifier}")
    return EXIT_DONE


@keys.command(name="list")
@common.json_option
def list_(json_file: str | None) -> int:
    """The keys this device trusts."""
    from edgehemo.bundle.output import KeyEntry, KeysOutput
    from edgehemo.bundle.signatures import key_folders, trusted_keys

    found = trusted_keys()
    for key in found:
        common.say(f"{key.identifier}  {key.name}", json_file)
    if not found:
        where = " or ".join(str(folder) for folder in key_folders())
        common.say(f"none; public keys (.pub) lie in {where}", json_file)
    entries = [KeyEntry(identifier=key.identifier, name=key.name) for key in found]
    common.write_json(json_file, KeysOutput(keys=entries))
    return EXIT_DONE


@keys.command()
@click.argument("public_key", type=click.Path(path_type=Path, exists=True, dir_okay=False))
def trust(public_key: Path) -> int:
    """Trust what the private half of PUBLIC_KEY (.pub) signs."""
    from edgehemo.bundle.signatures import PUBLIC_SUFFIX, own_key_folder, read_public_key
    from edgehemo.files.atomic import write_text_atomically

    key = read_public_key(public_key)
    target = own_key_folder() / f"{key.identifier}{PUBLIC_SUFFIX}"
    write_text_atomically(target, key.line)
    common.say(f"trusted: {key.identifier} {key.name} ({target})")
    return EXIT_DONE


@keys.command()
@click.argument("key", metavar="KEY")
def remove(key: str) -> int:
    """Trust KEY no longer: an identifier or a name as `edgehemo keys list` shows them.

    Bundles that it signed are refused from then on. The private half, where it lies here, stays.
    """
    from edgehemo.bundle.signatures import remove_trusted

    removed, path = remove_trusted(key)
    common.say(f"no longer trusted: {removed.identifier} {removed.name} ({path})")
    return EXIT_DONE
