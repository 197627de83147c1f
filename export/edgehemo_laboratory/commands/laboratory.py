"""The group and its commands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, UsageError

if TYPE_CHECKING:
    from edgehemo.interop.laboratory import PicturesRule
    from edgehemo.records.users import Role
    from edgehemo_laboratory.output import KioskEntry
    from edgehemo_laboratory.settings import Setup
    from edgehemo_laboratory.storage.interface import Engine, Storage

T = TypeVar("T")
PICTURES = ("never", "asked", "all")
FORMATS = ("csv", "parquet", "fhir")

data_option = click.option(
    "--data",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The laboratory's folder, with laboratory.toml where there are settings. Default: the one "
    "that EDGEHEMO_LABORATORY names, else one of the user's.",
)


@click.group()
def laboratory() -> None:
    """The laboratory's side: kiosks report to it, and it looks after them.

    `demo` shows all of it on this machine. `serve` takes what kiosks send, `enrol` gives the
    pairing code of a new one.
    """


@laboratory.command()
@data_option
@click.option("--listen", metavar="ADDRESS", help="Listen at this address, over the settings.")
@click.option("--port", type=click.IntRange(0, 65_535), help="Likewise the port; 0: any free one.")
def serve(folder: Path | None, listen: str | None, port: int | None) -> int:
    """Take what kiosks send, until a signal ends it.

    The first time it makes its certificates. Where it keeps things, and what it is called, say the
    settings: laboratory.toml in its folder.
    """
    import asyncio

    from edgehemo_laboratory.server.starting import run

    setup = _setup(folder)
    settings = setup.settings
    address = settings.listen if listen is None else listen
    chosen = settings.port if port is None else port
    asyncio.run(run(setup, address, chosen, said=common.say))
    return EXIT_DONE


@laboratory.command()
@click.argument("out", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Write over files that were changed.")
def dashboards(out: Path, force: bool) -> int:
    """Write the dashboard for Grafana and the rules for Prometheus into a folder.

    They go with the metrics that `serve` tells Prometheus.
    """
    from edgehemo_laboratory.dashboards import write_dashboards

    for path in write_dashboards(out, force=force):
        common.say(f"written: {path}")
    return EXIT_DONE


@laboratory.command()
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("edgehemo-laboratory-demo"),
    show_default=True,
    help="Folder for all of it; go on with the same one to add results.",
)
@click.option("--kiosks", type=click.IntRange(1, 50), default=3, show_default=True, help="So many.")
@click.option(
    "--results",
    type=click.IntRange(1, 1000),
    default=3,
    show_default=True,
    help="Samples that each kiosk screens; the first is corrected, the last withdrawn.",
)
@click.option(
    "--engine",
    type=click.Choice(("postgresql", "sqlite")),
    help="Storage. Default: PostgreSQL where it is installed, else SQLite.",
)
@click.option(
    "--staged",
    type=click.IntRange(0, 200),
    default=0,
    show_default=True,
    metavar="N",
    help="N more kiosks, over which a bundle is staged, halted by what it does, and rolled back.",
)
@click.option(
    "--fleet",
    type=click.IntRange(0, 500),
    default=0,
    show_default=True,
    help="So many kiosks besides with weeks of results that are drawn, some with faults that are "
    "known: what the pages show of hundreds of them.",
)
@click.option("--stay", is_flag=True, help="Go on serving its pages until a signal ends it.")
@common.json_option
def demo(
    out: Path,
    kiosks: int,
    results: int,
    engine: Engine | None,
    staged: int,
    fleet: int,
    stay: bool,
    json_file: str | None,
) -> int:
    """Run a small laboratory on this machine, with simulated kiosks that report to it.

    The kiosks are the device's own code on the simulated microscope; the server is `serve` in a
    process of its own, PostgreSQL one of its own that listens to nobody else.
    """
    from edgehemo_laboratory.demonstration import Told
    from edgehemo_laboratory.demonstration import run as demonstrated

    def wait(address: str) -> None:
        import signal
        import threading

        ended = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        common.say(f"look at {address} (its certificate is its own); Ctrl-C ends it", json_file)
        ended.wait()

    with common.Progress("screening", kiosks * results) as progress:
        told = Told(lambda line: common.say(line, json_file), progress.advance)
        output = demonstrated(
            out,
            kiosks=kiosks,
            results=results,
            engine=engine,
            told=told,
            staged=staged,
            fleet=fleet,
            stay=wait if stay else None,
        )
    for entry in output.kiosks:
        for line in _lines(entry):
            common.say(line, json_file)
    for fault in output.faults:
        common.say(f"WRONG {fault}", json_file)
    common.say(
        f"{output.results} results in {output.versions} versions and {output.pictures} pictures "
        f"are stored in {output.folder}; all is {'not ' if output.faults else ''}well",
        json_file,
    )
    common.write_json(json_file, output)
    lost = output.staged is not None and output.staged.lost
    return EXIT_WITHHELD if output.faults or lost else EXIT_DONE


@laboratory.command()
@click.argument("kiosk", metavar="KIOSK")
@click.option(
    "--site", required=True, metavar="SITE", help="Where it stands, a code and no address."
)
@click.option(
    "--identified",
    is_flag=True,
    help="Let it send numbers, names and days; without it pseudonyms and months are taken alone.",
)
@click.option(
    "--pictures",
    type=click.Choice(PICTURES),
    default="asked",
    show_default=True,
    help="Pictures of its results: none, those that a person asks for, or all.",
)
@data_option
@common.json_option
def enrol(
    kiosk: str,
    site: str,
    identified: bool,
    pictures: PicturesRule,
    folder: Path | None,
    json_file: str | None,
) -> int:
    """Give the pairing code for a kiosk called KIOSK; it is typed there once, within days.

    A name that is known gets another code: for a kiosk whose device was replaced, or that was
    revoked and found again. Then its policy stays as it is; `allow` changes it.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.enrolment.kiosks import CODE_DAYS, add_kiosk
    from edgehemo_laboratory.output import EnrolOutput

    setup = _setup(folder)
    certificates = setup.certificates
    code = _with(
        setup,
        lambda storage: add_kiosk(
            storage, certificates, kiosk, site, identified=identified, pictures=pictures,
            by=command_actor(),
        ),
    )  # fmt: skip
    addresses = [
        f"https://{f'[{name}]' if ':' in name else name}:{setup.settings.port}"
        for name in certificates.names
    ]
    common.say(f"pairing code for {kiosk}, good once and for {CODE_DAYS} days:", json_file)
    common.say(f"  {code.text}", json_file)
    common.say("type at the kiosk, with an address that it reaches this laboratory by:", json_file)
    common.say(f"  edgehemo outbox enrol {addresses[0]}", json_file)
    output = EnrolOutput(
        kiosk=kiosk, site=site, code=code.text, days=CODE_DAYS, addresses=addresses
    )
    common.write_json(json_file, output)
    return EXIT_DONE


@laboratory.command()
@data_option
@common.json_option
def kiosks(folder: Path | None, json_file: str | None) -> int:
    """The kiosks: where they stand, how long they are silent, what never came from them.

    Exit code 1 where something of a kiosk is missing.
    """
    from edgehemo_laboratory.output import KiosksOutput
    from edgehemo_laboratory.overview import kiosk_entries

    setup = _setup(folder)
    certificates = setup.certificates
    found = _with(setup, lambda storage: kiosk_entries(storage, certificates))
    for entry in found:
        for line in _lines(entry):
            common.say(line, json_file)
    if not found:
        common.say("no kiosk yet; `edgehemo laboratory enrol` gives a pairing code", json_file)
    common.write_json(json_file, KiosksOutput(kiosks=found))
    gaps = any(each.missing for entry in found for each in entry.records)
    return EXIT_WITHHELD if gaps else EXIT_DONE


@laboratory.command()
@click.argument("kiosk", metavar="KIOSK")
@click.option("--reason", required=True, metavar="WORDS", help="Why, such as: stolen.")
@data_option
def revoke(kiosk: str, reason: str, folder: Path | None) -> int:
    """Take nothing more from a kiosk that was lost; what came from it stays."""
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.enrolment.kiosks import revoke as revoked

    _with(_setup(folder), lambda storage: revoked(storage, kiosk, reason, by=command_actor()))
    common.say(f"{kiosk} is revoked; `edgehemo laboratory enrol {kiosk}` lets it in again")
    return EXIT_DONE


@laboratory.command()
@click.argument("kiosk", metavar="KIOSK")
@click.option("--site", metavar="SITE", help="It stands there from now on.")
@click.option("--identified/--pseudonyms", default=None, help="Whether names may come from it.")
@click.option("--pictures", type=click.Choice(PICTURES), help="Which pictures it is to send.")
@data_option
def allow(
    kiosk: str,
    site: str | None,
    identified: bool | None,
    pictures: PicturesRule | None,
    folder: Path | None,
) -> int:
    """Change what may come from a kiosk, and where it stands."""
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.enrolment.kiosks import set_policy

    if site is None and identified is None and pictures is None:
        raise UsageError("say what is to change: --site, --identified, --pseudonyms or --pictures")
    now = _with(
        _setup(folder),
        lambda storage: set_policy(
            storage, kiosk, site=site, identified=identified, pictures=pictures, by=command_actor()
        ),
    )
    names = "names and numbers" if now.identified else "pseudonyms alone"
    common.say(f"{kiosk} at {now.site}: {names}, pictures {now.pictures}")
    return EXIT_DONE


@laboratory.command()
@click.option("--prepare", is_flag=True, help="Make the next one; kiosks learn it as they visit.")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST",
    help="With --prepare: a name or address that kiosks call this server by. Default: those of the "
    "settings, else those of now.",
)
@click.option(
    "--use", is_flag=True, help="Show the prepared one from now on; then restart `serve`."
)
@click.option("--force", is_flag=True, help="With --use: also where kiosks do not trust it yet.")
@data_option
def certificate(
    prepare: bool, names: tuple[str, ...], use: bool, force: bool, folder: Path | None
) -> int:
    """The laboratory's own certificate, which kiosks pin: show it, or put another in its place.

    First --prepare; when all kiosks in service have visited, --use. Exit code 1 where some have
    not.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.enrolment.kiosks import without
    from edgehemo_laboratory.enrolment.replacing import prepare_next, use_next

    if prepare and use:
        raise UsageError("give --prepare or --use; between them the kiosks must have visited")
    if (names and not prepare) or (force and not use):
        raise UsageError("--name goes with --prepare, --force with --use")
    setup = _setup(folder)
    held = setup.certificates
    by = command_actor()
    if prepare:
        called = names or setup.settings.names
        made = _with(setup, lambda storage: prepare_next(storage, held, called, by=by))
        common.say(f"prepared: {made.digest}")
        return EXIT_DONE
    if use:
        used = _with(setup, lambda storage: use_next(storage, held, force=force, by=by))
        common.say(f"in use once `serve` is started again: {used.digest}")
        return EXIT_DONE
    common.say(f"in use: {held.server.digest} for {', '.join(held.names)}")
    coming = held.prepared
    if coming is None:
        return EXIT_DONE
    common.say(f"prepared: {coming.digest}")
    left = _with(setup, lambda storage: without(storage, coming.digest))
    for name in left:
        common.say(f"  {name} does not trust it yet")
    return EXIT_WITHHELD if left else EXIT_DONE


@laboratory.command()
@data_option
@common.json_option
def verify(folder: Path | None, json_file: str | None) -> int:
    """Check that what is stored holds together: chains, results, pictures.

    Exit code 1 where it does not.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.pictures.store import open_pictures
    from edgehemo_laboratory.verifying import verify as verified

    setup = _setup(folder)
    where = setup.pictures
    place = None if where is None else open_pictures(where)
    with common.Progress("checking") as progress:
        output = _with(
            setup,
            lambda storage: verified(storage, place, by=command_actor(), advance=progress.advance),
        )
    for fault in output.faults:
        common.say(f"WRONG {fault}", json_file)
    common.say(
        f"{output.chains} chains with {output.entries} entries, {output.versions} versions, "
        f"{output.pictures} pictures: {'all is well' if not output.faults else 'not well'}",
        json_file,
    )
    common.write_json(json_file, output)
    return EXIT_WITHHELD if output.faults else EXIT_DONE


@laboratory.command()
@click.option("--format", "kind", type=click.Choice(FORMATS), default="csv", show_default=True)
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file; it stands there whole or not at all.",
)
@click.option("--site", default="", metavar="SITE", help="Of one site alone.")
@click.option("--kiosk", default="", metavar="KIOSK", help="Of one kiosk alone.")
@click.option("--from", "since", default="", metavar="DAY", help="From this day on, as 2026-11-27.")
@click.option("--to", "until", default="", metavar="DAY", help="Until this day, which is in it.")
@click.option(
    "--outcome",
    type=click.Choice(("given", "withheld", "held", "withdrawn", "corrected")),
    help="Of one outcome alone.",
)
@click.option("--names", is_flag=True, help="With samples' numbers, operators and days.")
@click.option("--withdrawn", is_flag=True, help="Withdrawn results too; their values stay out.")
@data_option
@common.json_option
def export(
    kind: str,
    out: Path,
    site: str,
    kiosk: str,
    since: str,
    until: str,
    outcome: str | None,
    names: bool,
    withdrawn: bool,
    folder: Path | None,
    json_file: str | None,
) -> int:
    """Write results to a file: a table (csv, parquet), or FHIR R4 transactions, one a line.

    Of each result the newest version. Without --names the samples' numbers, operators and days
    stay out, as a kiosk that sends pseudonyms leaves them out. Units stand in the columns' names.
    """
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.exporting.formats import FORMATS as KINDS
    from edgehemo_laboratory.exporting.formats import write_export
    from edgehemo_laboratory.exporting.rows import Asked
    from edgehemo_laboratory.output import ExportOutput
    from edgehemo_laboratory.seeing.filters import Chosen

    said = {"site": site, "kiosk": kiosk, "from": since, "to": until, "outcome": outcome or ""}
    asked = Asked(Chosen.asked(said), names=names, withdrawn=withdrawn)
    with common.Progress("exporting") as progress:

        def advance(_: int) -> None:
            progress.advance()

        done = _with(
            _setup(folder),
            lambda storage: write_export(
                storage, KINDS[kind], asked, out, by=command_actor(), advance=advance
            ),
        )
    common.say(f"{done.results} results in {out}", json_file)
    if done.left_out:
        common.say(f"{done.left_out} results lack what {kind} needs and are left out", json_file)
    output = ExportOutput(
        file=str(out),
        format=kind,
        results=done.results,
        left_out=done.left_out,
        names=names,
        withdrawn=withdrawn,
    )
    common.write_json(json_file, output)
    return EXIT_DONE


@laboratory.group()
def people() -> None:
    """Who may sign in at the laboratory's pages: add, list, reset and remove them."""


_passphrase_option = click.option(
    "--passphrase-file",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A file whose first line is the passphrase; without it the terminal asks.",
)


@people.command(name="add")
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    type=click.Choice(("operator", "supervisor", "engineer")),
    default="operator",
    show_default=True,
    help="operator: sees results; supervisor: looks after kiosks too; engineer: publishes too.",
)
@_passphrase_option
@data_option
def add_(name: str, role: Role, passphrase_file: Path | None, folder: Path | None) -> int:
    """Let NAME sign in."""
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.people import add_person

    passphrase = _passphrase(passphrase_file)
    _with(
        _setup(folder),
        lambda storage: add_person(storage, name, role, passphrase, by=command_actor()),
    )
    common.say(f"{name} may sign in as {role}")
    return EXIT_DONE


@people.command(name="list")
@data_option
@common.json_option
def list_(folder: Path | None, json_file: str | None) -> int:
    """Everybody who may sign in, and who could once."""
    from edgehemo_laboratory.output import PeopleOutput, PersonEntry
    from edgehemo_laboratory.people import people as known

    found = _with(_setup(folder), known)
    for each in found:
        until = "" if each.removed_at is None else f", removed {each.removed_at}"
        common.say(f"{each.name:<20} {each.role:<12} since {each.made_at}{until}", json_file)
    if not found:
        common.say("nobody yet; `edgehemo laboratory people add` lets somebody in", json_file)
    entries = [
        PersonEntry(
            name=each.name, role=each.role, made_at=each.made_at, removed_at=each.removed_at
        )
        for each in found
    ]
    common.write_json(json_file, PeopleOutput(people=entries))
    return EXIT_DONE


@people.command()
@click.argument("name", metavar="NAME")
@_passphrase_option
@data_option
def reset(name: str, passphrase_file: Path | None, folder: Path | None) -> int:
    """Give NAME another passphrase, and sign them out."""
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.people import reset_passphrase

    passphrase = _passphrase(passphrase_file)
    _with(
        _setup(folder),
        lambda storage: reset_passphrase(storage, name, passphrase, by=command_actor()),
    )
    common.say(f"{name} has another passphrase")
    return EXIT_DONE


@people.command()
@click.argument("name", metavar="NAME")
@data_option
def remove(name: str, folder: Path | None) -> int:
    """Let NAME in no more; what they did stays in the chain."""
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.people import remove_person

    _with(_setup(folder), lambda storage: remove_person(storage, name, by=command_actor()))
    common.say(f"{name} may sign in no more")
    return EXIT_DONE


@laboratory.command()
@click.argument("result", metavar="ID")
@data_option
def pictures(result: str, folder: Path | None) -> int:
    """Ask for the pictures of result ID; its kiosk sends them with its next visit, if it may."""
    from edgehemo.device.recorded import command_actor
    from edgehemo_laboratory.pictures.keeping import ask_for

    _with(_setup(folder), lambda storage: ask_for(storage, result, by=command_actor()))
    common.say(f"the pictures of {result} are asked for")
    return EXIT_DONE


def _passphrase(file: Path | None) -> str:
    if file is not None:
        lines = file.read_text("utf-8").splitlines()
        return lines[0] if lines else ""
    given: str = click.prompt("passphrase", hide_input=True, confirmation_prompt=True)
    return given


def _setup(folder: Path | None) -> Setup:
    from edgehemo_laboratory.settings import setup_of

    return setup_of(folder)


def _with(setup: Setup, work: Callable[[Storage], Awaitable[T]]) -> T:
    import asyncio

    from edgehemo_laboratory.storage import open_storage

    async def run() -> T:
        storage = await open_storage(setup.storage)
        try:
            return await work(storage)
        finally:
            await storage.close()

    return asyncio.run(run())


def _lines(entry: KioskEntry) -> list[str]:
    from edgehemo_laboratory.clock import length_of
    from edgehemo_laboratory.overview import spans_text

    heard = "never heard" if entry.silent_s is None else f"heard {length_of(entry.silent_s)} ago"
    standing = entry.standing + (f" ({entry.why})" if entry.why else "")
    lines = [f"{entry.name:<20} {entry.site:<16} {standing}, {heard}, {entry.software_version}"]
    if (live := entry.live) is not None:
        word = live.word if live.word == "live" else f"{live.word} for {length_of(live.since_s)}"
        lines.append("  " + ", ".join([word, *live.worth_a_look]))
    for each in entry.records:
        said = f"  {each.results} results of records {each.store[:8]}"
        if each.refused:
            said += f", {each.refused} refused"
        if each.doubled:
            said += f", {each.doubled} numbers twice: its records were put back"
        lines.append(said)
        if each.missing:
            lines.append(f"  MISSING numbers {spans_text(each.missing)}")
    return lines
