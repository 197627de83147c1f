"""`edgehemo calibrate check`: a control slide judged, and the judgement kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgehemo.commands import common
from edgehemo.errors import EXIT_DONE, EXIT_WITHHELD, CalibrationError, UsageError
from edgehemo.words.counted import counted
from edgehemo_calibration.commands.options import checked_profile_option, images_argument, path_type
from edgehemo_calibration.commands.profile_editing import now, profile_of
from edgehemo_calibration.commands.slide_runs import open_reader, read_groups

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgehemo.control.history import Clearance, ControlCheck
    from edgehemo.profile.parts import ControlSlide
    from edgehemo.profile.profile import CalibrationProfile


@click.command()
@images_argument
@click.option("--slide", help="Name of the control slide, where the profile has several.")
@checked_profile_option
@common.bundle_option
@click.option(
    "--page", "page_file", metavar="FILE", type=path_type, help="Levey-Jennings page to write."
)
@common.json_option
def check(
    images: tuple[str, ...],
    slide: str | None,
    profile_path: Path | None,
    bundle: Path | None,
    page_file: Path | None,
    json_file: str | None,
) -> int:
    """Check a control slide: IMAGE... are pictures of it taken today (files or folders).

    Judged by the Westgard rules against the profile's targets and stored in this device's records.
    A failed check (exit code 1) withholds every result until `edgehemo calibrate clear`, and marks
    the stored results since the last good one.
    """
    from edgehemo.control.check import judge_control
    from edgehemo.device.configuration import load_device
    from edgehemo.device.recorded import command_actor
    from edgehemo.images.reading import images_in
    from edgehemo.records.controls import control_history, keep_control
    from edgehemo.records.store import Store
    from edgehemo_calibration.output import CheckOutput, ImageName

    path, profile = profile_of(profile_path)
    target = _slide_of(path, profile, slide)
    paths = images_in(images)
    device, at = load_device(None), now()
    store = Store.below(device.data_dir)
    known = control_history(store, profile, path)
    pictures = _refuse_repeated(paths, known)
    read, digest = open_reader(bundle, profile)
    (readings,) = read_groups([paths], read)
    verdict = judge_control(
        readings,
        target,
        profile,
        known,
        bundle_sha256=digest,
        at=at,
        expires_hours=device.screening.control_expires_hours,
        pictures=pictures,
    )
    record = verdict.check
    blocked = verdict.blocked.reason if verdict.blocked is not None else ""
    with store.writer() as writer:
        marked = keep_control(writer, profile, path, record, by=command_actor())
    if page_file is not None:
        from edgehemo.control.charts import control_page
        from edgehemo.files.atomic import write_text_atomically

        page = control_page(profile, (*known, record), blocked=blocked, now=at)
        write_text_atomically(page_file, page)
    for line in record.warnings:
        common.say(f"warning: {line}", json_file)
    common.say(
        f"control slide {target.name}: "
        + ("passed" if record.passed else f"failed: {record.reason}"),
        json_file,
    )
    if marked > 0:
        common.say(f"marked since the last good check: {counted(marked, 'result')}", json_file)
    if blocked:
        common.say(f"results are withheld: {blocked}", json_file)
    common.write_json(
        json_file,
        CheckOutput(
            images=[ImageName(image=str(image)) for image in paths],
            history=str(store.folder.database),
            check=record,
            blocked=blocked or None,
            marked=max(0, marked),
        ),
    )
    return EXIT_DONE if verdict.passed else EXIT_WITHHELD


def _refuse_repeated(
    paths: Sequence[Path], known: Sequence[ControlCheck | Clearance]
) -> tuple[str, ...]:
    """Digests of the pictures; CalibrationError where one is there twice, shows the place of
    another, or belonged to an earlier check. Nothing is recorded then.
    """
    from edgehemo.control.history import ControlCheck
    from edgehemo_calibration.pictures_given import content_digest, same_files, same_places

    digests = tuple(content_digest(image) for image in paths)
    before = {
        picture: record.at
        for record in known
        if isinstance(record, ControlCheck)
        for picture in record.pictures or ()
    }
    problems = same_files(paths) or same_places(paths)
    problems += [
        f"{image} was in the check of {before[digest]:%Y-%m-%d %H:%M} already"
        for image, digest in zip(paths, digests, strict=True)
        if digest in before
    ]
    if problems:
        raise CalibrationError(f"take new pictures of different fields: {'; '.join(problems)}")
    return digests


def _slide_of(path: Path, profile: CalibrationProfile, slide: str | None) -> ControlSlide:
    """The control slide named, or the profile's only one."""
    known = ", ".join(item.name for item in profile.controls)
    if not known:
        raise CalibrationError(
            f"{path}: has no control slide; set its targets with `edgehemo calibrate control`"
        )
    if slide is None and len(profile.controls) > 1:
        raise UsageError(f"name the control slide with --slide: {known}")
    target = profile.controls[0] if slide is None else profile.control(slide)
    if target is None:
        raise UsageError(f"no control slide {slide!r} in {path}; there is {known}")
    return target
