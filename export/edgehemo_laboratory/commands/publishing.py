"""`edgehemo laboratory publish|publications|advance|halt|resume|rollback|stick|take`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD
from edgehemo_laboratory.commands.laboratory import _setup, _with, data_option, laboratory

if TYPE_CHECKING:
    from edgehemo.published.terms import PackagedKind
    from edgehemo_laboratory.steering.output import PublicationEntry
    from edgehemo_laboratory.steering.publishing import Plan, Prepared

_sites_option = click.option(
    "--sites", metavar="NAMES", help="Only for kiosks of these sites, with commas between."
)
_kiosks_option = click.option("--kiosks", metavar="NAMES", help="Only for these kiosks, likewise.")
_share_option = click.option(
    "--share",
    metavar="PERCENT",
    help="One stage before all: such as 10%.",
)
_stages_option = click.option(
    "--stages",
    metavar="STAGES",
    help="Shares, and how long each lasts at least: 5%/24h,25%/2d,100%. That is the default.",
)
_by_itself_option = click.option(
    "--by-itself",
    is_flag=True,
    help="Stages follow without a person, once what they ask for holds. What is found halts it in "
    "any case.",
)
_key_option = click.option(
    "--key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Private key that signs, made by `edgehemo keys new` [default: this user's].",
)
_stick_option = click.option(
    "--stick",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write it to a stick as well, for kiosks without a network.",
)
_number_argument = click.argument("number", metavar="N", type=click.IntRange(1))


@laboratory.group()
def publish() -> None:
    """Publish a bundle, a language or settings for kiosks, in stages.

    What kiosks would refuse is refused here, with what they would say.
    """


@publish.command(name="bundle")
@click.argument("source", metavar="DIR|FILE", type=click.Path(path_type=Path, exists=True))
@_sites_option
@_kiosks_option
@_share_option
@_stages_option
@_by_itself_option
@_stick_option
@data_option
@common.json_option
def publish_bundle(
    source: Path,
    sites: str | None,
    kiosks: str | None,
    share: str | None,
    stages: str | None,
    by_itself: bool,
    stick: Path | None,
    folder: Path | None,
    json_file: str | None,
) -> int:
    """Publish a model bundle, a folder or ZIP file, signed by a key that kiosks trust.

    It is installed here first as a kiosk installs it, and a test slide is read with it: each kiosk
    must get the same numbers before it goes over to it.
    """
    from edgehemo_laboratory.steering.publishing import prepared_bundle

    plan = _plan(sites, kiosks, share, stages, by_itself)
    with common.Progress("looking at the bundle as a kiosk does"):
        file = prepared_bundle(source)
    return _published(file, plan, stick, folder, json_file)


@publish.command(name="language")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True))
@_key_option
@_sites_option
@_kiosks_option
@_share_option
@_stages_option
@_by_itself_option
@_stick_option
@data_option
@common.json_option
def publish_language(
    source: Path,
    key: Path | None,
    sites: str | None,
    kiosks: str | None,
    share: str | None,
    stages: str | None,
    by_itself: bool,
    stick: Path | None,
    folder: Path | None,
    json_file: str | None,
) -> int:
    """Publish the words of a language: FILE is fr.po, fr.mo, or fr/LC_MESSAGES/edgehemo.po.

    Every text must have its words, with the same places for values; else it is refused.
    """
    from edgehemo_laboratory.steering.publishing import words_content

    name, content = words_content(source)
    plan = _plan(sites, kiosks, share, stages, by_itself)
    return _packaged("language", name, content, key, plan, stick, folder, json_file)


@publish.command(name="settings")
@click.argument("source", metavar="FILE", type=click.Path(path_type=Path, exists=True))
@_key_option
@_sites_option
@_kiosks_option
@_share_option
@_stages_option
@_by_itself_option
@_stick_option
@data_option
@common.json_option
def publish_settings(
    source: Path,
    key: Path | None,
    sites: str | None,
    kiosks: str | None,
    share: str | None,
    stages: str | None,
    by_itself: bool,
    stick: Path | None,
    folder: Path | None,
    json_file: str | None,
) -> int:
    """Publish settings, a TOML file with sections and keys of a device configuration.

    Only some may be set from here, and nothing that weakens what a result stands on. The file's
    name is what the settings are called; a later one of the name takes its place.
    """
    from edgehemo_laboratory.steering.publishing import settings_content

    name, content = settings_content(source)
    plan = _plan(sites, kiosks, share, stages, by_itself)
    return _packaged("settings", name, content, key, plan, stick, folder, json_file)


@laboratory.command()
@click.option("--all", "everything", is_flag=True, help="Each kiosk of each publication.")
@data_option
@common.json_option
def publications(everything: bool, folder: Path | None, json_file: str | None) -> int:
    """What is published, in which stage, what was found, and what runs on each kiosk.

    Exit code 1 where one is halted.
    """
    from edgehemo_laboratory.clock import length_of
    from edgehemo_laboratory.steering.overview import overview

    found = _with(_setup(folder), overview)
    for entry in found.publications:
        for line in _lines(entry, everything):
            common.say(line, json_file)
    if not found.publications:
        common.say("nothing is published; `edgehemo laboratory publish` does", json_file)
    for ran in found.running:
        bundle = "no bundle" if ran.bundle is None else f"{ran.bundle.name} {ran.bundle.serial}"
        words = "".join(f", {each.language} {each.serial}" for each in ran.languages)
        by = f", brought by {ran.brought_by}" if ran.brought_by else ""
        common.say(
            f"{ran.kiosk:<20} {ran.site:<16} {bundle}{words}, edgehemo {ran.software_version}, "
            f"told {length_of(ran.said_s)} ago{by}",
            json_file,
        )
    for name in found.untold:
        common.say(f"{name:<20} has not told what runs there", json_file)
    common.write_json(json_file, found)
    halted = any(each.state == "halted" for each in found.publications)
    return EXIT_WITHHELD if halted else EXIT_DONE


@laboratory.command()
@_number_argument
@click.option("--anyway", metavar="WORDS", default="", help="Why, where something lacks for it.")
@data_option
@common.json_option
def advance(number: int, anyway: str, folder: Path | None, json_file: str | None) -> int:
    """Begin the next stage of publication N.

    Refused where the stage has not lasted long enough, too few kiosks use it, too few results came,
    or something was found.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.steering.changing import advance as advanced

    _with(
        _setup(folder), lambda storage: advanced(storage, number, by=command_actor(), anyway=anyway)
    )
    return _told(number, folder, json_file)


@laboratory.command()
@_number_argument
@click.option("--reason", required=True, metavar="WORDS", help="Why.")
@data_option
@common.json_option
def halt(number: int, reason: str, folder: Path | None, json_file: str | None) -> int:
    """Offer publication N to nobody from now on; kiosks that use it go on with it."""
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.steering.changing import halt as halted

    _with(_setup(folder), lambda storage: halted(storage, number, reason, by=command_actor()))
    return _told(number, folder, json_file)


@laboratory.command()
@_number_argument
@click.option("--reason", required=True, metavar="WORDS", help="Why it may go on.")
@data_option
@common.json_option
def resume(number: int, reason: str, folder: Path | None, json_file: str | None) -> int:
    """Offer a halted publication again; what was found until now halts it no more."""
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.steering.changing import resume as resumed

    _with(_setup(folder), lambda storage: resumed(storage, number, reason, by=command_actor()))
    return _told(number, folder, json_file)


@laboratory.command()
@_number_argument
@click.option("--reason", required=True, metavar="WORDS", help="Why.")
@_key_option
@data_option
@common.json_option
def rollback(
    number: int, reason: str, key: Path | None, folder: Path | None, json_file: str | None
) -> int:
    """Have kiosks that took publication N go back to what was before it.

    Kiosks take no older serial. So what was before is signed again under a higher one and offered
    at once to each kiosk that may have taken N, which is halted.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.steering.changing import roll_back
    from edgehemo_laboratory.steering.publishing import signing_key

    signing = signing_key(key)
    made = _with(
        _setup(folder),
        lambda storage: roll_back(storage, number, signing, reason, by=command_actor()),
    )
    return _told(made.number, folder, json_file)


@laboratory.command()
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@_kiosks_option
@data_option
@common.json_option
def stick(target: Path, kiosks: str | None, folder: Path | None, json_file: str | None) -> int:
    """Write what is offered to kiosks to a stick, for those without a network.

    At the kiosk an engineer installs it from the page of models and profiles; the kiosk then leaves
    a report on the stick, which `take` reads. Without --kiosks it is what is offered to all.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.steering.sticks import write_stick

    named = _names(kiosks)
    output = _with(
        _setup(folder), lambda storage: write_stick(storage, target, named, by=command_actor())
    )
    for each in output.files:
        common.say(f"{target / each.file}", json_file)
    common.write_json(json_file, output)
    return EXIT_DONE


@laboratory.command()
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path, exists=True))
@data_option
@common.json_option
def take(source: Path, folder: Path | None, json_file: str | None) -> int:
    """Take from a stick what kiosks without a network say of what runs there.

    Exit code 1 where a report was not taken.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.steering.sticks import take_stick

    output = _with(_setup(folder), lambda storage: take_stick(storage, source, by=command_actor()))
    for each in output.reports:
        common.say(f"{each.file}: {each.refused or each.kiosk}", json_file)
    common.write_json(json_file, output)
    return EXIT_WITHHELD if any(each.refused for each in output.reports) else EXIT_DONE


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(each.strip() for each in (text or "").split(",") if each.strip())


def _plan(
    sites: str | None, kiosks: str | None, share: str | None, stages: str | None, by_itself: bool
) -> Plan:
    from edgehemo.errors import UsageError
    from edgehemo_laboratory.steering.publishing import Plan
    from edgehemo_laboratory.steering.stages import STAGES, stages_of

    if share and stages:
        raise UsageError("give --share or --stages")
    given = share or stages
    return Plan(
        stages=stages_of(given) if given else STAGES,
        sites=_names(sites),
        kiosks=_names(kiosks),
        by_itself=by_itself,
    )


def _packaged(
    kind: PackagedKind,
    name: str,
    content: bytes,
    key: Path | None,
    plan: Plan,
    stick: Path | None,
    folder: Path | None,
    json_file: str | None,
) -> int:
    from edgehemo_laboratory.steering.publishing import (
        next_serial,
        prepared_package,
        signing_key,
    )

    signing = signing_key(key)
    serial = _with(_setup(folder), lambda storage: next_serial(storage, kind, name))
    file = prepared_package(kind, name, serial, content, signing)
    return _published(file, plan, stick, folder, json_file)


def _published(
    file: Prepared, plan: Plan, stick: Path | None, folder: Path | None, json_file: str | None
) -> int:
    from edgehemo.device.recorded import command_actor
    from edgehemo.files.atomic import write_bytes_atomically
    from edgehemo_laboratory.steering.publishing import publish

    made = _with(_setup(folder), lambda storage: publish(storage, file, plan, by=command_actor()))
    if stick is not None:
        target = stick / f"{file.kind}-{file.name}-{file.serial}.zip"
        write_bytes_atomically(target, file.content)
        common.say(f"{target}", json_file)
    return _told(made.number, folder, json_file)


def _told(number: int, folder: Path | None, json_file: str | None) -> int:
    from edgehemo_laboratory.steering.kept import publication
    from edgehemo_laboratory.steering.output import PublicationOutput
    from edgehemo_laboratory.steering.overview import entry_of
    from edgehemo_laboratory.storage.interface import Storage

    async def look(storage: Storage) -> PublicationEntry:
        return await entry_of(storage, await publication(storage, number))

    entry = _with(_setup(folder), look)
    for line in _lines(entry, False):
        common.say(line, json_file)
    common.write_json(json_file, PublicationOutput(publication=entry))
    return EXIT_DONE


def _lines(entry: PublicationEntry, everything: bool) -> list[str]:
    stage = entry.stages[entry.stage - 1]
    where = "halted" if entry.state == "halted" else f"stage {entry.stage} of {len(entry.stages)}"
    lines = [
        f"{entry.number:>4}  {entry.kind} {entry.name} {entry.serial}: {where} "
        f"({stage.share:.0%}), {entry.using} of {entry.chosen} kiosks use it, "
        f"{entry.failed} do not keep it, {entry.results} results"
    ]
    if entry.holds_again is not None:
        lines.append(f"      holds again what {entry.holds_again} held")
    if entry.why:
        lines.append(f"      HALTED: {entry.why}")
    elif entry.stage < len(entry.stages):
        lines += [f"      before the next stage: {each}" for each in entry.waits_for]
    if everything:
        lines += [
            f"      {each.kiosk:<20} {each.site:<16} {each.standing or 'not told yet'}"
            + (f": {each.words}" if each.words else "")
            for each in entry.kiosks
        ]
    return lines
