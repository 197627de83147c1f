"""`edgehemo data`: public data sets by name, and what is wrong with a folder of data."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_BAD_INPUT, EXIT_DONE, EXIT_WITHHELD, UsageError

if TYPE_CHECKING:
    from edgehemo_export.data.checking.check import CheckedSet, Report
    from edgehemo_export.data.fetching.getting import Got, Telling
    from edgehemo_export.data.fetching.registry import Release
    from edgehemo_export.output import ListedSet

# As the tests and the training's users name the folder.
DATA_VARIABLE = "EDGEHEMO_DATA"
MIRROR_VARIABLE = "EDGEHEMO_DATA_MIRROR"

# Of a finding's files, how many are shown.
SHOWN_FILES = 3
SEVERITIES = ("fault", "warning", "note")

data_option = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    envvar=DATA_VARIABLE,
    show_envvar=True,
    help="Data root: each set is a folder in it.",
)


@click.group()
def data() -> None:
    """Public data sets by name: fetch them, and check what is there."""


@data.command("list")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@data_option
@common.json_option
def list_sets(names: tuple[str, ...], data: Path | None, json_file: str | None) -> int:
    """The sets that can be fetched: licence, size, and which digests are known.

    With NAME, all that is known of these: where it is published, how it is cited, and what could
    not be verified.
    """
    from edgehemo_export.data.fetching.registry import release_named, releases
    from edgehemo_export.output import DataListOutput

    known = releases()
    chosen = dict(release_named(name) for name in names) or dict(known)
    rows = [_listed(name, release, data) for name, release in chosen.items()]
    common.write_json(
        json_file, DataListOutput(data=None if data is None else str(data), sets=rows)
    )
    if json_file != common.STDOUT:
        if names:
            for row in rows:
                _print_one(row)
        else:
            _print_all(rows)
    return EXIT_DONE


@data.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@data_option
@click.option(
    "--mirror",
    metavar="PLACE",
    envvar=MIRROR_VARIABLE,
    show_envvar=True,
    help="Folder or address where the archives lie, each by its name in the registry (bccd.zip), "
    "instead of the publisher: for machines without a network.",
)
@click.option(
    "--keep",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the archive there too: such a folder is a mirror.",
)
@click.option(
    "--accept-licence",
    is_flag=True,
    help="Accept the licence of each set, which is shown, without being asked.",
)
@click.option("--again", is_flag=True, help="Fetch what is there anew, and replace it.")
@click.option(
    "--trust-new",
    is_flag=True,
    help="Take files that differ from the registry's digests or from an earlier fetch, and record "
    "them as they are now.",
)
@common.json_option
def get(
    names: tuple[str, ...],
    data: Path | None,
    mirror: str | None,
    keep: Path | None,
    accept_licence: bool,
    again: bool,
    trust_new: bool,
    json_file: str | None,
) -> int:
    """Fetch public sets into a data root, in the layout that training reads.

    What was interrupted goes on where it stopped when the same command is called again. Nothing
    appears under a set's name before every file is verified: by a digest of the registry, or, where
    it has none, by that of the first fetch, recorded in the data root.
    """
    from edgehemo_export.data.fetching import getting
    from edgehemo_export.data.fetching.registry import release_named
    from edgehemo_export.output import DataGetOutput, GotSet

    if data is None:
        raise UsageError(f"say where to: --data DIR, or {DATA_VARIABLE} in the environment")
    chosen = dict(release_named(name) for name in names)
    for release in chosen.values():
        getting.source_of(release, mirror)  # a set that cannot be had is told before any is fetched
    got: list[Got] = []
    for name, release in chosen.items():
        there = None if again else getting.already(name, release, data)
        if there is None:
            _accept(release, accept_licence)
        with ExitStack() as stack:
            found = there or getting.get(
                name,
                release,
                data,
                mirror=mirror,
                keep=keep,
                again=again,
                trust_new=trust_new,
                telling=_telling(stack),
            )
        got += found
        for item in found:
            _say_got(item, json_file)
    common.write_json(
        json_file,
        DataGetOutput(
            data=str(data),
            sets=[
                GotSet(
                    name=item.name,
                    folder=str(item.folder),
                    state=item.state,
                    source=item.source,
                    licence=item.licence,
                    files=item.files,
                    bytes=item.bytes,
                    pictures=item.pictures,
                    pinned_files=item.pinned,
                    same_as_ours=item.same_as_ours,
                    other_than_ours=item.other_than_ours,
                    archive_as_published=item.archive_as_published,
                )
                for item in got
            ],
        ),
    )
    return EXIT_DONE


@data.command()
@click.argument(
    "folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False)
)
@click.option("--set", "sets", multiple=True, metavar="NAME", help="Only this set; repeatable.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File that keeps the fingerprints of pictures, so that the next check reads only what is "
    "new; the one of `edgehemo dataset manifest` serves [default: none].",
)
@common.json_option
def check(folder: Path, sets: tuple[str, ...], cache: Path | None, json_file: str | None) -> int:
    """Find what is wrong with the data below DIR: a data root, or the folder of one set.

    Broken files; pictures that are there twice, within and across sets, exactly or by their look,
    and in two parts of a split; one picture under two classes; cells outside of their picture;
    labels without a picture; classes of which there are few; a scale that the red cells
    contradict; files that changed since they were fetched. Each finding says what to do. Ends with
    1 where something must be put right, with 2 where something cannot be read.
    """
    from edgehemo_export.data.checking.check import check as checked
    from edgehemo_export.output import DataCheckOutput

    with ExitStack() as stack:
        bars: dict[str, common.Progress] = {}

        def tell(doing: str, done: int, total: int) -> None:
            if doing not in bars:
                stack.close()
                bars[doing] = stack.enter_context(common.Progress(doing, total, long=True))
            bars[doing].reach(done)

        report = checked(folder, names=sets, cache=cache, progress=tell)
    common.write_json(
        json_file,
        DataCheckOutput(
            folder=str(report.root),
            faults=report.faults,
            sets=report.sets,
            findings=report.findings,
        ),
    )
    if json_file != common.STDOUT:
        _print_report(report)
    if report.broken:
        return EXIT_BAD_INPUT
    return EXIT_WITHHELD if report.faults else EXIT_DONE


def _accept(release: Release, accepted: bool) -> None:
    """Show the licence; ask for it at a terminal. UsageError where it is not accepted."""
    quoted = "" if release.licence_said_by == "publisher" else ", as others quote it"
    for line in (
        release.title,
        f"  licence   {release.licence}{quoted}",
        f"            {release.licence_page}",
        f"  cite      {release.citation}",
    ):
        click.echo(line, err=True)
    if accepted:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            f"{release.title}: its licence must be accepted; read it at {release.licence_page} and "
            "call again with --accept-licence"
        )
    if not click.confirm("Accept this licence?", default=False, err=True):
        raise UsageError(f"{release.title}: not fetched, since its licence was not accepted")


def _telling(stack: ExitStack) -> Telling:
    """Progress of one set's steps, each a bar of its own."""
    from edgehemo_export.data.fetching.getting import Telling

    bars: list[common.Progress] = []

    def began(doing: str, total: int | None) -> None:
        stack.close()
        bars.append(stack.enter_context(common.Progress(doing, total)))

    def reached(done: int) -> None:
        bars[-1].reach(done)

    return Telling(began, reached, common.tell)


def _say_got(item: Got, json_file: str | None) -> None:
    how = f"{item.pinned} of {item.files} files" if item.pinned else "no file"
    common.say(
        f"{item.name}: {item.state}, {item.pictures:,} pictures, {item.bytes / 1e6:,.1f} MB in "
        f"{item.folder}; {how} had a pinned digest, all are recorded now",
        json_file,
    )
    if item.other_than_ours:
        common.say(
            f"{item.name}: {item.other_than_ours} files are other bytes than those that this "
            f"version's figures stand on, {item.same_as_ours} are the same",
            json_file,
        )
    if item.archive_as_published is False:
        common.say(
            f"{item.name}: the archive is another than the one whose digest is quoted; its files "
            "are recorded as they came",
            json_file,
        )


def _listed(name: str, release: Release, root: Path | None) -> ListedSet:
    from edgehemo_export.data.sets import set_folder
    from edgehemo_export.output import ListedSet

    folders = [placed.name for placed in release.sets]
    here = None
    if root is not None:
        here = [str(place) for item in folders if (place := set_folder(root, item)) is not None]
    return ListedSet(
        name=name,
        title=release.title,
        about=release.about,
        folders=folders,
        pictures=release.sets[0].pictures,
        size_mb=release.archive.size_mb,
        licence=release.licence,
        licence_said_by=release.licence_said_by,
        licence_page=release.licence_page,
        page=release.page,
        url=release.archive.url,
        url_said_by=release.archive.url_said_by,
        citation=release.citation,
        pinned_files=release.pinned_files,
        here=here,
        unsure=release.unsure,
    )


def _print_all(rows: list[ListedSet]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("name", "licence", "digests", "address"):
        table.add_column(heading, no_wrap=True)
    for heading in ("pictures", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    if rows and rows[0].here is not None:
        table.add_column("here")
    for row in rows:
        count = "" if row.pictures is None else f"{row.pictures:,}"
        cells = [row.name, row.licence, _digests(row), _address(row), count, _size(row)]
        if row.here is not None:
            cells.append("yes" if len(row.here) == len(row.folders) else "")
        table.add_row(*cells)
    Console().print(table)
    common.say(
        "No address was tried when this table was written. `edgehemo data list NAME` says what is "
        "not sure of a set."
    )


def _print_one(row: ListedSet) -> None:
    quoted = {"publisher": "", "quoted": " (as others quote it)", "none": ""}
    lines = [
        f"{row.name}: {row.title}",
        f"  {row.about}",
        f"  folders   {', '.join(row.folders)}",
        f"  pictures  {'not known' if row.pictures is None else f'{row.pictures:,}'}",
        f"  size      {_size(row) or 'not known'}{' MB' if row.size_mb else ''}",
        f"  licence   {row.licence}{quoted[row.licence_said_by]}",
        f"            {row.licence_page}",
        f"  page      {row.page}",
        f"  address   {row.url or 'none: by hand from the page'}{quoted[row.url_said_by]}",
        f"  digests   {_digests(row)}{' files' if row.pinned_files else ''}",
        f"  cite      {row.citation}",
    ]
    if row.here is not None:
        lines.append(f"  here      {', '.join(row.here) or 'no'}")
    lines += [f"  not sure  {sentence}" for sentence in row.unsure]
    for line in lines:
        common.say(line)


def _digests(row: ListedSet) -> str:
    return f"{row.pinned_files} pinned" if row.pinned_files else "not pinned"


def _address(row: ListedSet) -> str:
    return {"publisher": "publisher's", "quoted": "quoted", "none": "by hand"}[row.url_said_by]


def _size(row: ListedSet) -> str:
    return "" if row.size_mb is None else f"{row.size_mb:,.0f}"


def _print_report(report: Report) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from edgehemo.words.counted import counted

    table = Table(title=str(report.root), box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("set", no_wrap=True)
    for heading in ("pictures", "groups"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("classes, or boxes")
    table.add_column("um/px stated, measured")
    for row in report.sets:
        scales = "\n".join(
            f"{_um(scale.stated_um_per_px)}, {_um(scale.measured_um_per_px)} ({scale.source})"
            for scale in row.scales
        )
        table.add_row(row.name, f"{row.pictures:,}", f"{row.groups:,}", _counts(row), scales)
    Console().print(table)
    for number, item in enumerate(report.findings, 1):
        common.say(f"{item.severity}: {item.set_name}: {item.says}")
        for files in item.files[:SHOWN_FILES]:
            common.say(f"    {' = '.join(files)}")
        more = len(item.files) - SHOWN_FILES
        if more > 0:
            common.say(f"    and {more:,} more; --json has all")
        # Of several of a kind, what to do is said once.
        if all(following.code != item.code for following in report.findings[number : number + 1]):
            common.say(f"  {item.action}")
    found = [(sum(i.severity == s for i in report.findings), s) for s in SEVERITIES]
    counts = ", ".join(counted(count, severity) for count, severity in found)
    common.say(counts if report.findings else "nothing was found")


def _counts(row: CheckedSet) -> str:
    counts = row.classes or row.boxes
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _um(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
