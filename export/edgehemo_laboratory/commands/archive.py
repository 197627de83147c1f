"""`edgehemo archive`: fields of many kiosks, kept once and read again with another bundle."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD, UsageError

if TYPE_CHECKING:
    from edgehemo.estimate.network import NetworkTask
    from edgehemo_laboratory.archive.cluster import Tls
    from edgehemo_laboratory.archive.dataset import LabelsBy
    from edgehemo_laboratory.archive.equipment import ReadingFile
    from edgehemo_laboratory.archive.output import ReadingEntry
    from edgehemo_laboratory.archive.place import Archive

store_option = click.option(
    "--store",
    metavar="DIR|s3://...",
    help="The archive: a folder, or s3://bucket/prefix. Default: the one that EDGEHEMO_ARCHIVE "
    "names, else one of the user's.",
)
_LIMIT_S = 120.0
_TRIES = 2


@click.group()
def archive() -> None:
    """Keep fields of many kiosks, and read them again with another bundle.

    `ingest` takes fields in, `reread` reads with a bundle what it has not read yet, on this machine
    or on many, `status` says how far that is.
    """


@archive.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--table",
    metavar="CSV",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A table of pictures instead of SOURCE: the column file, and as many of sample, site, "
    "kiosk, patient, profile, um_per_px, licence, simulated, age_years, sex, ..., hgb_g_per_l as "
    "are known.",
)
@click.option(
    "--cells",
    metavar="CSV",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A table of cells that people named in these pictures: file, x, y, class, and kind and by "
    "where they are known.",
)
@click.option("--site", metavar="SITE", help="Where they were taken, a code and no address.")
@click.option("--kiosk", metavar="KIOSK", help="Which kiosk took them.")
@click.option("--sample", metavar="ID", help="All are of this sample. Default: a folder a sample.")
@click.option(
    "--profile",
    "profiles",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Calibration profile that they are read with. Several: each export of a kiosk gets the "
    "one that it names.",
)
@click.option(
    "--um-per-px",
    type=click.FloatRange(min=0, min_open=True),
    help="Scale of the pictures, where no profile gives it.",
)
@click.option("--licence", metavar="TEXT", default="", help="Under what terms they may be used.")
@click.option("--simulated", is_flag=True, help="The simulated microscope drew them.")
@click.option(
    "--update", is_flag=True, help="Of fields that are there already, what is said now counts."
)
@click.option(
    "--header-only",
    is_flag=True,
    help="Do not decode the pictures; broken ones are then set aside when they are read.",
)
@store_option
@common.json_option
def ingest(
    sources: tuple[Path, ...],
    table: Path | None,
    cells: Path | None,
    site: str | None,
    kiosk: str | None,
    sample: str | None,
    profiles: tuple[Path, ...],
    um_per_px: float | None,
    licence: str,
    simulated: bool,
    update: bool,
    header_only: bool,
    store: str | None,
    json_file: str | None,
) -> int:
    """Take fields into the archive, each once.

    SOURCE is pictures, folders of them (a folder a sample), or what `edgehemo records export
    --format folder` wrote. Exit code 2 where a picture is broken: it is set aside with the reason.
    """
    from edgehemo_laboratory.archive.ingest import ingest as taken
    from edgehemo_laboratory.archive.sources import (
        Given,
        Labels,
        arrivals,
        named_table,
        table_arrivals,
        with_named,
    )

    if (table is None) == (not sources):
        raise UsageError("name pictures or folders, or a table with --table")
    place = _opened(store, make=True)
    keep = functools.partial(_kept_profile, place, simulated=simulated)
    given = Given(
        labels=Labels(
            sample="",
            site=site,
            kiosk=kiosk,
            um_per_px=um_per_px,
            licence=licence,
            simulated=simulated,
        ),
        sample=sample,
        profiles=frozenset(keep(path) for path in profiles),
    )
    items = (
        iter(table_arrivals(table, given, keep)) if table is not None else arrivals(sources, given)
    )
    if cells is not None:
        items = with_named(items, named_table(cells))
    with common.Progress("taking in") as progress:
        output = taken(place, items, update=update, whole=not header_only, advance=progress.advance)
    for line in output.left_out:
        common.complain(line)
    for each in output.broken:
        common.complain(f"set aside {each.name} of {each.sample}: {each.error}")
    if output.broken_count > len(output.broken):
        common.complain(f"and {output.broken_count - len(output.broken)} more are set aside")
    if output.differing:
        common.complain(
            f"of {output.differing} fields that are there already something else was said before, "
            "which stands; --update takes what is said now"
        )
    said = f"{output.new} new fields of {output.samples} samples, {output.known} were there already"
    if output.updated:
        said += f", {output.updated} of them told anew"
    if output.doubled:
        said += f", {output.doubled} came twice"
    common.say(f"{said}; archive: {output.archive}", json_file)
    common.write_json(json_file, output)
    return EXIT_BAD_INPUT if output.broken_count else EXIT_DONE


@archive.command()
@click.option(
    "--bundle",
    "bundles",
    metavar="DIR|DIGEST",
    multiple=True,
    help="Only the readings of this bundle: its folder, or what its digest begins with.",
)
@store_option
@common.json_option
def status(bundles: tuple[str, ...], store: str | None, json_file: str | None) -> int:
    """What is in the archive, by which bundles it was read, what was set aside and why."""
    from edgehemo_laboratory.archive.status import status as looked

    output = looked(_opened(store), [_digest_of(each) for each in bundles])
    common.say(
        f"{output.fields} fields of {output.samples} samples, {output.bytes / 1e6:.0f} MB; "
        f"{output.broken} broken pictures set aside, {output.named_cells} cells named by people",
        json_file,
    )
    for site in output.sites:
        called = site.site or "no site"
        common.say(f"  {called:<20} {site.fields} fields, {site.samples} samples", json_file)
    for entry in output.readings:
        for line in _reading_lines(entry):
            common.say(line, json_file)
    if not output.readings:
        common.say("not read yet; `edgehemo archive reread --bundle DIR` reads it", json_file)
    common.write_json(json_file, output)
    return EXIT_DONE


@archive.command()
@common.bundle_option
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="A Dask scheduler that runs: tcp://host:8786, tls://host:8786, or its scheduler file. "
    "Default: workers on this machine.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 1024),
    help="So many workers on this machine. Default: one a processor.",
)
@click.option(
    "--tls",
    nargs=3,
    metavar="CA CERTIFICATE KEY",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Files of PEM for a scheduler at tls://.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0, 86_400),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="Wait so long for a scheduler that was lost.",
)
@click.option(
    "--limit",
    type=click.FloatRange(1, 3600),
    default=_LIMIT_S,
    show_default=True,
    metavar="SECONDS",
    help="A field that takes longer is set aside.",
)
@click.option(
    "--tries",
    type=click.IntRange(1, 10),
    default=_TRIES,
    show_default=True,
    help="A field that crashes its reader is begun so often before it is set aside.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 10_000),
    metavar="FIELDS",
    help="Fields that a worker reads into one part, lost with it at most. Default: 128.",
)
@click.option("--again", is_flag=True, help="Read once more what was set aside.")
@click.option("--anaemia-screen", is_flag=True, help="Run the anaemia screen as well.")
@click.option("--field-estimator", is_flag=True, help="Run the field estimator on every field.")
@store_option
@common.json_option
def reread(
    bundle: Path | None,
    scheduler: str | None,
    workers: int | None,
    tls: tuple[Path, Path, Path] | None,
    patience: float,
    limit: float,
    tries: int,
    batch: int | None,
    again: bool,
    anaemia_screen: bool,
    field_estimator: bool,
    store: str | None,
    json_file: str | None,
) -> int:
    """Read with a bundle what it has not read yet, then every sample from its fields.

    Stopped or killed, it is gone on with by the same command. Exit code 1 where a field or sample
    has no row in the end. Whoever reaches a scheduler runs code on its workers: keep it to
    yourself, or ask for certificates (--tls).
    """
    from edgehemo.bundle.bundle import load_bundle
    from edgehemo_laboratory.archive import cluster
    from edgehemo_laboratory.archive.apart import ReaderSetting
    from edgehemo_laboratory.archive.equipment import begun_reading
    from edgehemo_laboratory.archive.parts import Job
    from edgehemo_laboratory.archive.run import Told
    from edgehemo_laboratory.archive.run import reread as run

    if scheduler is not None and workers is not None:
        raise UsageError("--workers are this machine's; a scheduler has its own")
    if tls is not None and scheduler is None:
        raise UsageError("--tls is for a scheduler that is named; the own one has its certificate")
    place = _opened(store)
    networks: tuple[NetworkTask, ...] = ()
    if anaemia_screen:
        networks += ("anaemia_screen",)
    if field_estimator:
        networks += ("field_estimator",)
    loaded = load_bundle(bundle)
    file = begun_reading(place, loaded, networks)
    job = Job(
        reading=file.reading,
        reader=ReaderSetting(
            archive=place.where,
            bundle=None if bundle is None else str(bundle.absolute()),
            bundle_sha256=loaded.digest,
            networks=networks,
            limit_s=limit,
            tries=tries,
        ),
    )
    if scheduler is None:
        many = workers or cluster.own_workers()
        connect = functools.partial(cluster.own_cluster, many)
    else:
        if scheduler.startswith("tcp://"):
            common.tell(
                f"{scheduler} asks for no certificate: whoever reaches it runs code on its workers"
            )
        connect = functools.partial(cluster.other_cluster, scheduler, _tls(tls))
    cluster.be_quiet()
    with _progress() as told:
        output = run(
            place,
            file,
            job,
            connect,
            again=again,
            patience_s=patience,
            batch_fields=batch,
            told=Told(said=common.complain, advance=told),
        )
    for line in _reading_lines(output.reading):
        common.say(line, json_file)
    for name in output.missing:
        common.complain(f"not read: {name}")
    if output.reading.twice:
        common.complain(
            f"{output.reading.twice} items have two rows: the archive was tampered with"
        )
    common.say(
        f"{output.fields_in_run} fields and {output.samples_in_run} samples in "
        f"{output.seconds:.0f} s, {output.fields_per_s:g} fields/s",
        json_file,
    )
    common.write_json(json_file, output)
    return EXIT_DONE if output.done else EXIT_WITHHELD


@archive.command()
@click.option("--old", "old_bundle", metavar="DIR|DIGEST", required=True, help="The bundle of now.")
@click.option(
    "--new",
    "new_bundle",
    metavar="DIR|DIGEST",
    required=True,
    help="The bundle that is to be published: its folder, what its digest begins with, or a "
    "reading's name.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("comparison.html"),
    show_default=True,
    help="The page.",
)
@store_option
@common.json_option
def compare(
    old_bundle: str, new_bundle: str, out: Path, store: str | None, json_file: str | None
) -> int:
    """Hold one bundle's reading against another's, before it is published.

    Counts, types, concentrations and refused fields, over all samples and by site, with intervals;
    grades that change; the samples that move most, with their pictures.
    """
    from edgehemo.files.atomic import write_text_atomically
    from edgehemo_laboratory.archive.compare import compare as held
    from edgehemo_laboratory.archive.compare import scatter
    from edgehemo_laboratory.archive.page import MOST_POINTS, compare_page
    from edgehemo_laboratory.clock import now

    place = _opened(store)
    old, new = _reading_of(place, old_bundle), _reading_of(place, new_bundle)
    output = held(place, old, new)
    points = scatter(place, old, new, MOST_POINTS)
    write_text_atomically(out, compare_page(place, output, points, now()))
    common.say(f"{output.samples} samples are read by both, {output.unread} are not", json_file)
    for change in output.groups[0].changes:
        if ":" not in change.name and change.change is not None:
            unit = " %" if change.relative or change.unit == "%" else f" {change.unit}".rstrip()
            interval = (
                "too few patients"
                if change.low is None or change.high is None
                else f"{change.low:+g} to {change.high:+g}"
            )
            common.say(f"  {change.label:<24} {change.change:+g}{unit} ({interval})", json_file)
    common.say(f"page: {out}", json_file)
    common.write_json(json_file, output)
    return EXIT_DONE


@archive.command()
@click.option(
    "--out",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the set; empty or not there.",
)
@click.option("--name", default="from_archive", show_default=True, help="What it is called.")
@click.option(
    "--where",
    metavar="SQL",
    help="Which fields: a condition on site, kiosk, sample, patient, licence, hgb_g_per_l, "
    "named_cells, and with --bundle on read_accepted, read_rbc, sample_hgb, sample_grade, ..., "
    "with --against on disagreement. Default: all.",
)
@click.option("--site", "sites", multiple=True, metavar="SITE", help="Only of these sites.")
@click.option("--most", type=click.IntRange(1), help="At most so many fields.")
@click.option(
    "--labels",
    type=click.Choice(("people", "model")),
    default="people",
    show_default=True,
    help="Cells that people named; or whole fields with the bundle's own names, to be checked.",
)
@click.option("--bundle", metavar="DIR|DIGEST", help="By whose reading the condition asks.")
@click.option(
    "--against", metavar="DIR|DIGEST", help="Another bundle: where they disagree most comes first."
)
@click.option("--licence", default="", metavar="TEXT", help="Default: what the fields bear.")
@store_option
@common.json_option
def dataset(
    out: Path,
    name: str,
    where: str | None,
    sites: tuple[str, ...],
    most: int | None,
    labels: LabelsBy,
    bundle: str | None,
    against: str | None,
    licence: str,
    store: str | None,
    json_file: str | None,
) -> int:
    """Make a training set of the fields that a condition chooses, for `edgehemo train`.

    Patients stay together, licence and origin go along. Example: --where "named_cells > 0 AND
    licence <> ''".
    """
    from edgehemo_laboratory.archive.dataset import Choice, write_dataset

    if against is not None and bundle is None:
        raise UsageError("--against is another than --bundle; name both")
    place = _opened(store)
    conditions = [f"({where})"] if where else []
    if sites:
        named = ", ".join("'" + site.replace("'", "''") + "'" for site in sites)
        conditions.append(f"site IN ({named})")
    choice = Choice(
        name=name,
        where=" AND ".join(conditions) or None,
        most=most,
        labels=labels,
        licence=licence,
        reading=None if bundle is None else _reading_of(place, bundle),
        other=None if against is None else _reading_of(place, against),
    )
    with common.Progress("making the set") as progress:
        output = write_dataset(place, choice, out, progress.advance)
    for called, count in output.classes.items():
        common.say(f"  {called:<24} {count}", json_file)
    common.say(
        f"{output.cells} cells of {output.groups} patients or samples, from {output.fields} "
        f"fields; {output.samples_measured} samples with values of an analyser; set: {out}",
        json_file,
    )
    if output.lost:
        common.complain(f"{output.lost} cells or fields are left out: picture or reading is gone")
    if not output.licence:
        common.complain("no field says under what terms it may be used: fill in dataset.toml")
    if output.labels == "model":
        common.complain("the names are the bundle's own: have people check them before training")
    common.write_json(json_file, output)
    return EXIT_DONE


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int, str], None]]:
    """What a run tells, as a bar or as lines: one for the fields, one for the samples."""
    shown: dict[str, common.Progress] = {}

    def end() -> None:
        for stage in list(shown):
            shown.pop(stage).__exit__(None, None, None)

    def told(stage: str, items: int, _: int, note: str) -> None:
        if stage not in shown:
            end()
            shown[stage] = common.Progress(f"reading {stage}", long=True).__enter__()
        shown[stage].reach(items, note)

    try:
        yield told
    finally:
        end()


def _reading_lines(entry: ReadingEntry) -> list[str]:
    lines = [
        f"bundle {entry.bundle} ({entry.bundle_sha256[:16]}), edgehemo {entry.software_version}, "
        f"begun {entry.begun_at}",
        f"  {entry.read} of {entry.fields} fields read, {entry.unreadable} unreadable, "
        f"{entry.set_aside} set aside, {entry.waiting} waiting",
        f"  {entry.samples_read} of {entry.samples} samples, {entry.samples_set_aside} set aside, "
        f"{entry.samples_waiting} waiting",
    ]
    for each in entry.aside:
        lines.append(f"  set aside {each.name}: {each.kind}, {each.error}")
    return lines


def _tls(given: tuple[Path, Path, Path] | None) -> Tls | None:
    from edgehemo_laboratory.archive.cluster import Tls

    return None if given is None else Tls(*given)


def _digest_of(named: str) -> str:
    """The digest of a bundle that is named by its folder, or by the digest's beginning."""
    from edgehemo.bundle.bundle import load_bundle

    if Path(named).exists():
        return load_bundle(Path(named), trust="files-only").digest
    return named.lower()


def _reading_of(place: Archive, named: str) -> ReadingFile:
    """The reading of a bundle, or that is called so. UsageError where there is none, or several."""
    from edgehemo_laboratory.archive.equipment import reading_files

    digest = _digest_of(named)
    files = reading_files(place)
    found = [each for each in files if each.reading == named] or [
        each for each in files if each.bundle_sha256.startswith(digest)
    ]
    if not found:
        raise UsageError(
            f"{named}: no reading of this bundle; `edgehemo archive reread --bundle` makes one"
        )
    if len(found) > 1:
        names = ", ".join(each.reading for each in found)
        raise UsageError(f"{named}: several readings ({names}); name one of them")
    return found[0]


def _opened(store: str | None, *, make: bool = False) -> Archive:
    from edgehemo_laboratory.archive.place import (
        ENVIRONMENT_VARIABLE,
        default_archive,
        open_archive,
    )

    where = store or os.environ.get(ENVIRONMENT_VARIABLE) or default_archive()
    if "://" not in where:
        where = str(Path(where).expanduser().absolute())
    return open_archive(where, make=make)


def _kept_profile(place: Archive, path: Path, *, simulated: bool) -> str:
    """Keep a profile; its digest. UsageError where the simulated one would judge real pictures."""
    from edgehemo.capture.simulated import SCHEME
    from edgehemo_laboratory.archive.equipment import keep_profile

    digest, profile = keep_profile(place, path)
    if profile.camera == SCHEME.rstrip(":") and not simulated:
        raise UsageError(
            f"{path}: was made on the simulated microscope; add --simulated where it drew the "
            "pictures"
        )
    return digest
