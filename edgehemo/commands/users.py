"""`edgehemo users`: who may work with this device's kiosk."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, UsageError

if TYPE_CHECKING:
    from edgehemo.records.store import Store
    from edgehemo.records.users import Role

pin_file_option = click.option(
    "--pin-file",
    type=click.File("r", encoding="utf-8"),
    metavar="FILE",
    help="Read the PIN from the first line of FILE, - for standard input, instead of asking.",
)


@click.group()
def users() -> None:
    """Add, list and remove who may work with this device's kiosk."""


@users.command()
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(["operator", "supervisor", "engineer"]),
    required=True,
    help="operator: a health worker, who screens samples. supervisor: also sees all results. "
    "engineer: also sets up the device. The first user is a supervisor.",
)
@pin_file_option
def add(name: str, role: Role, pin_file: Any) -> int:
    """Add a user NAME: letters, digits and . _ - without a space. The PIN has 4 to 12 digits."""
    from edgehemo.device.recorded import command_actor
    from edgehemo.records.users import add_user

    pin = _pin(pin_file)
    with _store().writer() as writer:
        add_user(writer, name, role, pin, by=command_actor())
    common.say(f"added: {name}, {role}")
    return EXIT_DONE


@users.command(name="list")
@common.json_option
def list_(json_file: str | None) -> int:
    """The users of this device."""
    from edgehemo.kiosk.role_names import role_name
    from edgehemo.records.output import UserEntry, UsersListOutput
    from edgehemo.records.users import users as known
    from edgehemo.words.language import Words

    store = _store()
    found = []
    if store.folder.exists():
        with store.reader() as reader:
            found = known(reader)
    for user in found:
        wrong = f", {user.wrong} wrong PINs" if user.wrong else ""
        called = role_name(Words(), user.role).lower()
        # The role's own name is what `add` takes; the other is what the kiosk's pages say.
        said = user.role if called == user.role else f"{user.role} ({called})"
        common.say(f"{user.name}  {said}{wrong}", json_file)
    if not found:
        first = "none; add the first with `edgehemo users add NAME --role supervisor`"
        common.say(first, json_file)
    entries = [
        UserEntry(name=user.name, role=user.role, added_at=user.made_at, wrong_pins=user.wrong)
        for user in found
    ]
    common.write_json(json_file, UsersListOutput(users=entries))
    return EXIT_DONE


@users.command()
@click.argument("name")
@pin_file_option
def reset(name: str, pin_file: Any) -> int:
    """Give the user NAME another PIN, and end the pause after wrong ones."""
    from edgehemo.device.recorded import command_actor
    from edgehemo.records.users import reset_pin

    pin = _pin(pin_file)
    with _store().writer() as writer:
        reset_pin(writer, name, pin, by=command_actor())
    common.say(f"{name} has another PIN")
    return EXIT_DONE


@users.command()
@click.argument("name")
def remove(name: str) -> int:
    """The user NAME may do nothing any more; stored results keep the name."""
    from edgehemo.device.recorded import command_actor
    from edgehemo.records.users import remove_user

    with _store().writer() as writer:
        remove_user(writer, name, by=command_actor())
    common.say(f"removed: {name}")
    return EXIT_DONE


def _pin(file: Any) -> str:
    if file is not None:
        return str(file.readline()).strip()
    if not sys.stdin.isatty():
        raise UsageError("there is nobody to ask for the PIN here; give it with --pin-file FILE")
    asked: str = click.prompt("PIN", hide_input=True, confirmation_prompt="The PIN again", err=True)
    return asked


def _store() -> Store:
    from edgehemo.device.configuration import load_device
    from edgehemo.records.store import Store

    return Store.below(load_device(None).data_dir)
