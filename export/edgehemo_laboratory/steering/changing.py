"""Stages follow each other, and are halted, resumed and rolled back: by people, and by what is
found. What was done stands in the chain.
"""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from pathlib import Path

from edgehemo.bundle.bundle import (
    MANIFEST_NAME,
    SHIPPED_BUNDLE,
    SIGNATURE_NAME,
    load_bundle,
)
from edgehemo.bundle.packing import unpack
from edgehemo.bundle.signatures import PrivateKey, signature_text
from edgehemo.errors import BundleError
from edgehemo.guidance.catalogue import DOMAIN, LOCALE_DIR
from edgehemo.published.packages import CONTENT_NAMES
from edgehemo.published.slide import read_slide
from edgehemo_laboratory.chain import note
from edgehemo_laboratory.clock import length_of, now, seconds_of
from edgehemo_laboratory.errors import LaboratoryError
from edgehemo_laboratory.steering.findings import Examined, examined, kiosks_in
from edgehemo_laboratory.steering.kept import (
    Publication,
    file_of,
    publication,
    publications,
)
from edgehemo_laboratory.steering.limits import Found
from edgehemo_laboratory.steering.offering import take_into_stage
from edgehemo_laboratory.steering.publishing import (
    Plan,
    Prepared,
    Reads,
    next_serial,
    prepared_bundle,
    prepared_package,
    publish,
)
from edgehemo_laboratory.steering.stages import Stage
from edgehemo_laboratory.storage.interface import Statements, Storage

# Who is named in the chain for what the laboratory does by itself.
ITSELF = "laboratory"


def waits_for(kept: Publication, seen: Examined, now_s: int) -> list[str]:
    """What does not hold yet before the next stage, a phrase each; empty where it may begin."""
    stage, out = kept.now, []
    if kept.state == "halted":
        out.append(f"it is halted: {kept.why}")
    if kept.is_last:
        return [*out, "no stage follows: it is offered to all"]
    left_s = kept.since_s + stage.wait_s - now_s
    if left_s > 0:
        out.append(f"the stage lasts {length_of(left_s)} more")
    out += [f"found: {each.words}" for each in seen.found]
    many = len(seen.kiosks)
    if many == 0 or seen.using < stage.used_share * many:
        out.append(f"{seen.using} of {many} kiosks use it, {stage.used_share:.0%} must")
    wanted = stage.results if kept.kind == "bundle" else 0
    if seen.results < wanted:
        out.append(f"{seen.results} results were made with it, {wanted} must be")
    return out


async def advance(storage: Storage, number: int, *, by: str, anyway: str = "") -> Publication:
    """Begin the next stage. anyway: the reason why, where what it asks for does not hold yet; never
    of one that is halted. LaboratoryError where it may not begin.
    """

    async def work(change: Statements) -> None:
        kept = await publication(change, number)
        at_s = seconds_of(now())
        lacking = waits_for(kept, await examined(change, kept, at_s), at_s)
        if lacking and (not anyway or kept.state == "halted" or kept.is_last):
            raise LaboratoryError(f"{kept.called}: the next stage may not begin: {lacking[0]}")
        await change.do(
            "UPDATE publication_standing SET stage = $1, since_s = $2 WHERE publication = $3",
            kept.stage + 1, at_s, number,
        )  # fmt: skip
        kept = await publication(change, number)
        taken = await take_into_stage(change, kept)
        said = {"stage": f"{kept.now.share:.0%}", "kiosks": len(taken)}
        if lacking:
            said |= {"anyway": anyway, "lacking": lacking}
        await note(change, "publication advanced", kept.called, said, by=by)

    await storage.change(work)
    return await publication(storage, number)


async def halt(storage: Storage, number: int, reason: str, *, by: str) -> Publication:
    """Offer it to nobody from now on. Kiosks that use it go on with it: see `roll_back`.
    LaboratoryError where it is halted already, or no reason is given.
    """
    if not reason.strip():
        raise LaboratoryError("say why it is halted")

    async def work(change: Statements) -> None:
        kept = await publication(change, number)
        if kept.state == "halted":
            raise LaboratoryError(f"{kept.called} is halted already: {kept.why}")
        await _halted(change, kept, reason, by=by)

    await storage.change(work)
    return await publication(storage, number)


async def _halted(change: Statements, kept: Publication, reason: str, *, by: str) -> None:
    await change.do(
        "UPDATE publication_standing SET state = 'halted', why = $1 WHERE publication = $2",
        reason[:500], kept.number,
    )  # fmt: skip
    await note(change, "publication halted", kept.called, {"why": reason[:500]}, by=by)


async def resume(storage: Storage, number: int, reason: str, *, by: str) -> Publication:
    """Offer a halted one again, in the stage that it was in: what was found until now was looked
    at, and does not halt it again. LaboratoryError where it is not halted, or a later one of its
    name is published.
    """
    if not reason.strip():
        raise LaboratoryError("say why it may go on")

    async def work(change: Statements) -> None:
        kept = await publication(change, number)
        if kept.state != "halted":
            raise LaboratoryError(f"{kept.called} is not halted")
        for each in await publications(change):
            same = (each.kind, each.name) == (kept.kind, kept.name)
            if same and each.serial > kept.serial:
                raise LaboratoryError(f"{each.called} was published since; publish it anew")
        at_s = seconds_of(now())
        await change.do(
            "UPDATE publication_standing SET state = 'staged', why = '', since_s = $1, "
            "counted_from_s = $1 WHERE publication = $2",
            at_s, number,
        )  # fmt: skip
        said = {"why": reason[:500], "was halted for": kept.why}
        await note(change, "publication resumed", kept.called, said, by=by)

    await storage.change(work)
    return await publication(storage, number)


async def watch(storage: Storage, now_s: int | None = None) -> list[Publication]:
    """Look at everything that is staged: what is found halts it; a stage that has what it asks for
    is followed by the next, where that was said. Those that were halted now.
    """
    halted = []
    for each in await publications(storage, staged=True):
        at_s = seconds_of(now()) if now_s is None else now_s
        seen = await examined(storage, each, at_s)
        if seen.found and await _halt_by(storage, each, seen.found, at_s):
            halted.append(await publication(storage, each.number))
        elif each.by_itself and not waits_for(each, seen, at_s):
            await advance(storage, each.number, by=ITSELF)
    return halted


async def _halt_by(
    storage: Storage, kept: Publication, found: tuple[Found, ...], at_s: int
) -> bool:
    """Whether it was this call that halted it: several servers may watch."""

    async def work(change: Statements) -> bool:
        still = await publication(change, kept.number)
        if still.state == "halted":
            return False
        for each in found:
            await change.do(
                "INSERT INTO finding (publication, at_s, kind, words, value, low, high, of_limit) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
                kept.number, at_s, each.kind, each.words, each.figure.value, each.figure.low,
                each.figure.high, each.of_limit,
            )  # fmt: skip
        await _halted(change, still, "; ".join(each.words for each in found), by=ITSELF)
        return True

    return await storage.change(work)


async def earlier_than(statements: Statements, kept: Publication) -> Publication | None:
    """The one of its name that was offered before it and is not halted; None where there is
    none: what comes with edgehemo was in use then.
    """
    found = [
        each
        for each in await publications(statements)
        if (each.kind, each.name) == (kept.kind, kept.name)
        and each.serial < kept.serial
        and each.state == "staged"
    ]
    return max(found, key=lambda each: each.serial, default=None)


async def roll_back(
    storage: Storage, number: int, key: PrivateKey, reason: str, *, by: str,
    reads: Reads = read_slide,
) -> Publication:  # fmt: skip
    """Have kiosks that took a publication go back to what was before it.

    Kiosks take no older serial, whoever offers it. So what was before is signed anew with a serial
    above: the same content, which says of itself when it was signed again. It is offered at once to
    every kiosk that may have taken the one that is left; that one is halted. LaboratoryError where
    nothing is known that was before, or no kiosk took it.
    """
    kept = await publication(storage, number)
    if kept.state != "halted":
        kept = await halt(storage, number, reason, by=by)
    took = [
        each.name
        for each in await kiosks_in(storage, kept)
        if each.offered_at_s is not None or each.uses
        if each.standing not in ("refused", "declined", "withdrawn")
    ]
    if not took:
        raise LaboratoryError(f"{kept.called}: it is halted, and no kiosk took it")
    before = await earlier_than(storage, kept)
    serial = await next_serial(storage, kept.kind, kept.name)
    again = await _signed_again(storage, kept, before, serial, key, reads)
    plan = Plan(
        stages=(Stage(share=1.0, wait_s=0),),
        limits=kept.limits,
        kiosks=took,
        back_to=None if before is None else before.number,
    )
    made = await publish(storage, again, plan, by=by)
    await _note_back(storage, kept, made, before, reason, by)
    return made


async def _note_back(
    storage: Storage,
    kept: Publication,
    made: Publication,
    before: Publication | None,
    reason: str,
    by: str,
) -> None:
    said = {
        "why": reason[:500],
        "by": made.called,
        "which holds": "what comes with edgehemo" if before is None else before.called,
    }

    async def work(change: Statements) -> None:
        await note(change, "publication rolled back", kept.called, said, by=by)

    await storage.change(work)


async def _signed_again(
    storage: Storage,
    kept: Publication,
    before: Publication | None,
    serial: int,
    key: PrivateKey,
    reads: Reads,
) -> Prepared:
    content = None if before is None else await file_of(storage, before)
    if kept.kind == "bundle":
        return _bundle_again(kept.name, content, serial, key, reads)
    if content is not None:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            data = packed.read(CONTENT_NAMES[kept.kind])
    elif kept.kind == "language":
        data = (LOCALE_DIR / kept.name / "LC_MESSAGES" / f"{DOMAIN}.mo").read_bytes()
    else:
        raise LaboratoryError(
            f"{kept.called}: no earlier settings of this name are known; publish those that are "
            "to hold"
        )
    return prepared_package(kept.kind, kept.name, serial, data, key)


def _bundle_again(
    name: str, content: bytes | None, serial: int, key: PrivateKey, reads: Reads
) -> Prepared:
    """A bundle's content under a higher serial; that of edgehemo where none was published."""
    with tempfile.TemporaryDirectory(prefix="edgehemo-publish-") as scratch:
        folder = Path(scratch) / "bundle"
        if content is None:
            shutil.copytree(SHIPPED_BUNDLE, folder)
        else:
            folder.mkdir()
            (Path(scratch) / "before.zip").write_bytes(content)
            unpack(Path(scratch) / "before.zip", folder)
        try:
            made = load_bundle(folder).manifest
        except BundleError as error:
            raise LaboratoryError(str(error)) from None
        again = made.model_copy(
            update={"name": name, "serial": serial, "created_at": now().replace(microsecond=0)}
        )
        raw = (again.model_dump_json(indent=2) + "\n").encode()
        (folder / MANIFEST_NAME).write_bytes(raw)
        (folder / SIGNATURE_NAME).write_text(signature_text(raw, key), "utf-8")
        return prepared_bundle(folder, reads)
