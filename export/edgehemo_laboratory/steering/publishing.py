"""A file is published: looked at as a kiosk would look at it, then kept and offered in stages.

What a kiosk would refuse is refused here: by its own code, and by what each kiosk said of the keys
that it trusts and of the serials that it has.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgehemo.bundle.packing import is_packed
from edgehemo.bundle.signatures import (
    DEFAULT_KEY_NAME,
    PRIVATE_SUFFIX,
    PrivateKey,
    own_key_folder,
    read_private_key,
)
from edgehemo.device.installed_bundles import MAX_SERIAL_STEP, BundleStore, pack
from edgehemo.device.installed_languages import problems_of
from edgehemo.errors import BundleError, PublicationError
from edgehemo.interop.laboratory import MAX_PUBLISHED_BYTES
from edgehemo.published.packages import open_package, write_package
from edgehemo.published.reports import Running
from edgehemo.published.settings import settings_of, settings_of_toml
from edgehemo.published.slide import SlideNumbers, read_slide
from edgehemo.published.terms import Kind, PackagedKind
from edgehemo.version import __version__
from edgehemo_laboratory.chain import note
from edgehemo_laboratory.clock import now, seconds_of, text_of
from edgehemo_laboratory.enrolment.kiosks import kiosks
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.steering.kept import (
    Publication,
    as_json,
    keep_file,
    publication,
)
from edgehemo_laboratory.steering.limits import Limits
from edgehemo_laboratory.steering.offering import runs_by_kiosk, take_into_stage
from edgehemo_laboratory.steering.stages import STAGES, Stage
from edgehemo_laboratory.storage.interface import Statements, Storage

Reads = Callable[[Path], SlideNumbers]
# Of kiosks that would refuse it so many are named.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that was looked at. key: identifier of the key that signed it, empty of the bundle
    that comes with edgehemo. expected: what its test slide gives.
    """

    kind: Kind
    name: str
    serial: int
    content: bytes
    digest: str
    signed_by: str
    key: str
    expected: SlideNumbers | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is published. sites, kiosks: who it is for; empty for all. by_itself: whether stages
    follow without a person, once what they ask for holds.
    """

    stages: tuple[Stage, ...] = STAGES
    limits: Limits = field(default_factory=Limits)
    sites: Sequence[str] = ()
    kiosks: Sequence[str] = ()
    by_itself: bool = False
    back_to: int | None = None


def prepared_bundle(source: Path, reads: Reads = read_slide) -> Prepared:
    """A bundle's folder or ZIP file, installed in a store of its own as a kiosk does, and its test
    slide read. LaboratoryError with what a kiosk would say.
    """
    with tempfile.TemporaryDirectory(prefix="edgehemo-publish-") as scratch:
        file = Path(scratch) / "bundle.zip"
        try:
            if source.is_dir():
                pack(source, file)
            elif is_packed(source) and source.is_file():
                file = source
            else:
                raise LaboratoryError(f"{source}: is no bundle, neither a folder nor a ZIP file")
            installed = BundleStore(Path(scratch)).install(file)
            expected = reads(installed.path)
            content = file.read_bytes()
        except (BundleError, PublicationError) as error:
            raise LaboratoryError(f"a kiosk would refuse it: {error}") from None
        except OSError as error:
            raise LaboratoryError(f"{source}: {error.strerror or error}") from None
    if len(content) > MAX_PUBLISHED_BYTES:
        raise LaboratoryError(f"{source}: is too large to be published")
    made = installed.manifest
    signed_by = installed.signed_by or installed.trust
    return Prepared(
        "bundle", made.name, made.serial, content, installed.digest, signed_by,
        _key_in(signed_by), expected,
    )  # fmt: skip


def _key_in(signed_by: str) -> str:
    """The identifier of ``name (identifier)``; empty where nobody signed."""
    return signed_by.rpartition("(")[2].rstrip(")") if signed_by.endswith(")") else ""


def words_content(source: Path) -> tuple[str, bytes]:
    """A language's code and its ``.mo`` content, of a ``.po`` or ``.mo`` file called so, such as
    ``fr.po``; also where its folder is: ``fr/LC_MESSAGES/edgehemo.po``.
    """
    language = source.stem
    if source.parent.name == "LC_MESSAGES":
        language = source.parents[1].name
    try:
        data = source.read_bytes()
    except OSError as error:
        raise LaboratoryError(f"{source}: {error.strerror or error}") from None
    if source.suffix == ".po":
        # Whoever publishes words that were compiled needs none of it.
        from edgehemo_laboratory.steering.compiling import compiled  # noqa: PLC0415

        data = compiled(data, language, str(source))
    elif source.suffix != ".mo":
        raise LaboratoryError(f"{source}: words are a .po or .mo file")
    if problems := problems_of(language, data):
        raise LaboratoryError(f"{source}: {'; '.join(problems)}")
    return language, data


def settings_content(source: Path) -> tuple[str, bytes]:
    """The name and content of settings, a TOML file."""
    try:
        text = source.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LaboratoryError(f"{source}: cannot be read ({error})") from None
    try:
        sent = settings_of_toml(text, str(source))
    except PublicationError as error:
        raise LaboratoryError(str(error)) from None
    return source.stem, (sent.model_dump_json() + "\n").encode()


def prepared_package(
    kind: PackagedKind, name: str, serial: int, content: bytes, key: PrivateKey
) -> Prepared:
    """Words or settings, signed and opened again as a kiosk does."""
    with tempfile.TemporaryDirectory(prefix="edgehemo-publish-") as scratch:
        file = Path(scratch) / "package.zip"
        try:
            write_package(
                file, kind, name, serial, content, key, created_at=now().replace(microsecond=0),
                software_version=__version__,
            )  # fmt: skip
            package = open_package(file, name)
            if kind == "settings":
                settings_of(package.content, name)
        except PublicationError as error:
            raise LaboratoryError(f"a kiosk would refuse it: {error}") from None
        data = file.read_bytes()
    return Prepared(
        kind, name, serial, data, package.digest, package.signed_by, key.public.identifier
    )


def signing_key(named: Path | None) -> PrivateKey:
    """The private key named, else this user's; LaboratoryError where there is none."""
    path = named or own_key_folder() / f"{DEFAULT_KEY_NAME}{PRIVATE_SUFFIX}"
    if not path.is_file():
        raise LaboratoryError(
            "there is no key to sign with: make one with `edgehemo keys new`, put its public half "
            "on the kiosks, and keep its private half to yourself"
        )
    return read_private_key(path)


async def next_serial(statements: Statements, kind: Kind, name: str) -> int:
    """One above all that were published of a name, and all that kiosks say they had."""
    return 1 + await _highest(statements, kind, name)


async def _highest(statements: Statements, kind: Kind, name: str) -> int:
    ((known,),) = await statements.rows(
        "SELECT COALESCE(max(serial), 0) FROM publication WHERE kind = $1 AND name = $2", kind, name
    )
    runs = await runs_by_kiosk(statements)
    told = [each.highest.get(f"{kind} {name}", 0) for each in runs.values()]
    return int(max([known, *told]))


async def publish(storage: Storage, file: Prepared, plan: Plan, *, by: str) -> Publication:
    """Keep a file that was looked at, and offer it to its first stage. LaboratoryError where kiosks
    that it is for would refuse it, it is there already, or its serial does not rise.
    """
    await _refuse_unknown(storage, plan)
    # Before the publication is: whoever is told of it can fetch it.
    await keep_file(storage, file.sha256, file.content)

    async def work(change: Statements) -> int:
        await _refuse_unfit(change, file, plan)
        at = now()
        expected = "" if file.expected is None else json.dumps(file.expected.model_dump())
        ((number,),) = await change.rows(
            "INSERT INTO publication (sha256, kind, name, serial, digest, signed_by, key, size, "
            "expected, stages, limits, sites, kiosks, back_to, made_at, made_at_s, by_whom) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) "
            "RETURNING number",
            file.sha256, file.kind, file.name, file.serial, file.digest, file.signed_by, file.key,
            len(file.content), expected,
            json.dumps([each.model_dump() for each in plan.stages]),
            json.dumps(plan.limits.model_dump()), as_json(plan.sites), as_json(plan.kiosks),
            plan.back_to, text_of(at), seconds_of(at), by,
        )  # fmt: skip
        await change.do(
            "INSERT INTO publication_standing (publication, state, stage, since_s, counted_from_s, "
            "by_itself) VALUES ($1, 'staged', 0, $2, $3, $4)",
            number, seconds_of(at), seconds_of(at), int(plan.by_itself),
        )  # fmt: skip
        made = await publication(change, number)
        taken = await take_into_stage(change, made)
        details = {
            "sha256": file.sha256, "digest": file.digest, "signed by": file.signed_by,
            "stage": f"{plan.stages[0].share:.0%}", "kiosks": sorted(taken),
        }  # fmt: skip
        if plan.back_to is not None:
            details["holds again"] = (await publication(change, plan.back_to)).called
        await note(change, "published", made.called, details, by=by)
        return int(number)

    number = await storage.change(work)
    return await publication(storage, number)


async def _refuse_unknown(statements: Statements, plan: Plan) -> None:
    known = await kiosks(statements)
    for what, wanted, there in (
        ("kiosk", plan.kiosks, {each.name for each in known}),
        ("site", plan.sites, {each.site for each in known}),
    ):
        if unknown := sorted(set(wanted) - there):
            raise LaboratoryError(f"there is no {what} {unknown[0][:64]!r}")


async def _refuse_unfit(change: Statements, file: Prepared, plan: Plan) -> None:
    if await change.rows("SELECT 1 FROM publication WHERE sha256 = $1", file.sha256):
        raise LaboratoryError(f"{file.kind} {file.name} {file.serial} is published already")
    ((known,),) = await change.rows(
        "SELECT COALESCE(max(serial), 0) FROM publication WHERE kind = $1 AND name = $2",
        file.kind, file.name,
    )  # fmt: skip
    if file.serial <= known:
        raise LaboratoryError(
            f"{file.kind} {file.name}: serial {file.serial} does not rise, {known} is published; "
            f"give it {known + 1}"
        )
    runs = await runs_by_kiosk(change)
    wanted = [
        each
        for each in await kiosks(change)
        if each.revoked_at is None
        and (not plan.sites or each.site in plan.sites)
        and (not plan.kiosks or each.name in plan.kiosks)
    ]
    refusing = [
        f"{each.name} ({why})"
        for each in wanted
        if (ran := runs.get(each.number)) is not None and (why := _why_refused(file, ran))
    ]
    if refusing:
        more = "" if len(refusing) <= _NAMED else f" and {len(refusing) - _NAMED} more"
        raise LaboratoryError(
            f"{len(refusing)} kiosks would refuse it: {', '.join(refusing[:_NAMED])}{more}; mend "
            "that, or publish for others with --sites or --kiosks"
        )


def _why_refused(file: Prepared, ran: Running) -> str:
    """Why a kiosk would refuse a file, by what it said of itself; empty where it would not."""
    if file.key and file.key not in ran.keys:
        return f"does not trust the key {file.key}"
    highest = ran.highest.get(f"{file.kind} {file.name}", 0)
    if file.serial < highest:
        return f"has had serial {highest}"
    if file.kind == "bundle" and file.serial > highest + MAX_SERIAL_STEP:
        return f"has serial {highest}, which this one is far above"
    return ""


async def prepared_in_thread(source: Path, reads: Reads = read_slide) -> Prepared:
    """`prepared_bundle` beside a server that goes on answering."""
    return await asyncio.to_thread(prepared_bundle, source, reads)
