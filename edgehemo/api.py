"""The public functions: from pictures to what is in them, and from sources to a report.

The edge of the pure parts: opens the three artefacts, reads frames, knows the time and writes.
A picture is a path or an array, uint8 RGB of shape (height, width, 3).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgehemo.capture import CameraSettings, LiveCapture, frames, is_camera
from edgehemo.device.clock import note_result
from edgehemo.device.equipment import Equipment, open_equipment, open_one_classifier
from edgehemo.device.readiness import refuse_another_camera, refuse_simulated_profile
from edgehemo.device.recorded import recorded_screening
from edgehemo.errors import ImageError, UsageError
from edgehemo.images.frame import Frame
from edgehemo.images.reading import read_frame
from edgehemo.report.folder import OutputFolder, output_folder, refuse_sources_in
from edgehemo.report.result import ScreeningResult, name_of
from edgehemo.report.same_sample import refuse_another_sample
from edgehemo.screening.field import FieldReading
from edgehemo.screening.labels import SampleLabels
from edgehemo.screening.notes import note_image, note_sample
from edgehemo.screening.provenance import provenance_of
from edgehemo.screening.sample import (
    SampleReading,
    Screening,
    UnreadableImage,
    screen_frames,
)
from edgehemo.screening.stopping import StopRule, camera_rule, files_rule

if TYPE_CHECKING:
    from edgehemo.anaemia.who_grade import Person
    from edgehemo.bundle.manifest import ModelTask
    from edgehemo.capture.protocol import FailedSource
    from edgehemo.cells.typing import Verdict
    from edgehemo.estimate.network import NetworkTask
    from edgehemo.quality.check import QualityReport
    from edgehemo.records.recording import Recording

Named: TypeAlias = str | Path
Picture: TypeAlias = Named | NDArray[np.uint8]
OnImage = Callable[[FieldReading | UnreadableImage], None]


def screen(
    sources: Picture | Sequence[Picture],
    out: Named | None = None,
    *,
    bundle: Named | None = None,
    profile: Named | None = None,
    um_per_px: float | None = None,
    person: Person | None = None,
    fields: int | None = None,
    counting_error: float | None = None,
    live: LiveCapture | None = None,
    on_image: OnImage | None = None,
    labels: SampleLabels | None = None,
    record: bool = False,
    force: bool = False,
    anaemia_screen: bool | None = None,
    field_estimator: bool = False,
) -> ScreeningResult:
    """Screen the images of one sample.

    sources: files, folders, videos or cameras (``simulated:``), or pictures as arrays. out: a
    folder for result.json, report.html and the annotated fields; None writes nothing. bundle:
    another model bundle than the device's. profile: this microscope's calibration profile instead
    of the device's; without any there are indices and no concentrations. um_per_px: the scale,
    where no profile says it. person: for the WHO grade. fields: stop after so many accepted fields
    (a camera without it: as the device configuration says; files: all). counting_error: stop once
    the red count's relative 95 % error has fallen to this. live: how fields are taken from a
    camera without a stage; focus is judged as quality does unless it brings a judge of its own.
    on_image: called with each result. labels: what the sample, its operator and the site are
    called. record: store the result in this device's records; it is on the disk when this returns,
    and ``recorded`` of what is returned says under what identifier. force: replace another
    sample's result in ``out``, which is refused else. anaemia_screen: run it, or
    do not; None: as the device configuration says, which by itself does not. field_estimator: run
    it even where the profile's calibration does not stand on it. Either takes more time than the
    cells of a field.

    An image that cannot be read is recorded and the rest goes on; a path where nothing is raises
    ImageError. Raises BundleError, ProfileError, DeviceError or UsageError before anything is
    read, OSError where ``out`` cannot be written.
    """
    given = _listed(sources)
    for source in given:
        if isinstance(source, str | Path) and not is_camera(str(source)):
            _refuse_missing(Path(source))
    return screen_sources(
        given,
        out,
        bundle=bundle,
        profile=profile,
        um_per_px=um_per_px,
        person=person,
        fields=fields,
        counting_error=counting_error,
        live=live,
        on_image=on_image,
        labels=labels,
        record=record,
        force=force,
        anaemia_screen=anaemia_screen,
        field_estimator=field_estimator,
    )


def screen_sources(
    sources: Sequence[Picture],
    out: Named | None,
    *,
    bundle: Named | None = None,
    profile: Named | None = None,
    um_per_px: float | None = None,
    person: Person | None = None,
    fields: int | None = None,
    counting_error: float | None = None,
    live: LiveCapture | None = None,
    on_image: OnImage | None = None,
    labels: SampleLabels | None = None,
    record: bool = False,
    force: bool = False,
    anaemia_screen: bool | None = None,
    field_estimator: bool = False,
) -> ScreeningResult:
    """`screen` for a batch: a path where nothing is becomes an unreadable image in its place."""
    named = [source if isinstance(source, np.ndarray) else str(source) for source in sources]
    if out is not None:
        paths = [Path(name) for name in named if isinstance(name, str) and not is_camera(name)]
        refuse_sources_in(Path(out), paths)
        if not force:
            sample = None if labels is None else labels.sample
            refuse_another_sample(
                Path(out), sample, [name if isinstance(name, str) else None for name in named]
            )
    equipment = open_equipment(bundle, profile)
    _refuse_unfit([name for name in named if isinstance(name, str)], equipment)
    rule = _rule(named, equipment, fields, counting_error)
    networks: tuple[NetworkTask, ...] = ()
    if equipment.blocked is None:  # else nothing is measured
        networks = equipment.networks_wanted(
            field_estimator=field_estimator, anaemia_screen=anaemia_screen
        )
    screening = Screening(
        equipment.reader(um_per_px, networks=networks),
        person=person,
        bundle_sha256=equipment.bundle.digest,
        rule=rule,
        blocked=equipment.blocked,
        notes=equipment.notes,
    )
    live = live or LiveCapture()
    # Already one accepted field, on whose scale its cells agree, knows more than a live frame.
    known = partial(screening.scale_of, min_fields=1)
    live = replace(live, judge=live.judge or equipment.judge(um_per_px, known))
    settings = equipment.camera_settings()
    items = _frames_of(named, limit=rule.examined_fields, settings=settings, live=live)
    with ExitStack() as undone:
        recording = None
        if record:
            recording = undone.enter_context(
                recorded_screening(equipment, screening, um_per_px, labels or SampleLabels())
            )
            items = map(_without_folders, items)
        folder = None if out is None else output_folder(Path(out), words=equipment.device.words)
        try:
            return _screened(
                items, screening, folder, equipment, um_per_px, on_image, labels, recording
            )
        except BaseException:
            if folder is not None:
                folder.discard()
            raise


def _screened(
    items: Iterator[Frame | FailedSource],
    screening: Screening,
    folder: OutputFolder | None,
    equipment: Equipment,
    um_per_px: float | None,
    on_image: OnImage | None,
    labels: SampleLabels | None,
    recording: Recording | None,
) -> ScreeningResult:
    """Read the frames, store and write what they come to: first the records, then the folder."""
    simulated = False

    def keep(result: FieldReading | UnreadableImage, frame: Frame | None) -> None:
        nonlocal simulated
        if frame is not None:
            simulated |= bool(frame.metadata.get("simulated", False))
            if folder is not None and isinstance(result, FieldReading):
                folder.add(len(screening.images) - 1, result, frame)
        if recording is not None:
            recording.add(len(screening.images) - 1, result, frame)
        note_image(len(screening.images), result)
        if on_image is not None:
            on_image(result)

    reading = screen_frames(items, screening, keep)
    note_sample(reading)
    provenance = provenance_of(
        equipment.bundle,
        equipment.profile,
        equipment.profile_name,
        um_per_px=um_per_px,
        simulated=simulated,
        now=datetime.now().astimezone(),
    )
    if reading.withheld is None and equipment.profile is not None and not simulated:
        note_result(equipment.device.data_dir, provenance.created_at)
    labels = labels or SampleLabels()
    recorded = None
    if recording is not None:
        recorded = recording.finish(reading, provenance)
        if recorded is not None:
            labels = replace(labels, sample=recorded.sample)
    if folder is None:
        return ScreeningResult(reading, provenance, labels=labels, recorded=recorded)
    try:
        return folder.finish(reading, provenance, labels, recorded)
    except OSError as error:
        if recorded is not None:
            raise UsageError(
                f"the result is stored as {recorded.result_id}, but its report could not be "
                f"written ({error.filename or folder.path}: {error.strerror or error}): "
                "`edgehemo records export` writes it again"
            ) from error
        raise


def _without_folders(item: Frame | FailedSource) -> Frame | FailedSource:
    """A frame called as its result calls it: a folder's name may be a person's."""
    if isinstance(item, Frame):
        return replace(item, source=name_of(item.source))
    return replace(
        item, image=name_of(item.image), error=item.error.replace(item.image, name_of(item.image))
    )


def quality(
    picture: Picture,
    *,
    bundle: Named | None = None,
    profile: Named | None = None,
    um_per_px: float | None = None,
) -> QualityReport:
    """Whether a field can be trusted, and what to do where not; see `screen` for the arguments.

    Raises ImageError for what cannot be read, FieldError for what is not a field.
    """
    equipment = open_equipment(bundle, profile)
    return equipment.judging_reader(um_per_px).read(_frame(picture)).quality


def cells(
    picture: Picture,
    *,
    bundle: Named | None = None,
    profile: Named | None = None,
    um_per_px: float | None = None,
) -> FieldReading:
    """Every cell of a field with its box and type, in ``cells.cells`` of what is returned.

    A field that quality refuses is searched all the same: ``accepted`` and ``quality`` say so.
    Raises as `quality` does.
    """
    equipment = open_equipment(bundle, profile)
    return equipment.cells_reader(um_per_px).read(_frame(picture))


def classify(
    picture: Picture,
    model: ModelTask,
    *,
    bundle: Named | None = None,
    um_per_px: float | None = None,
) -> Verdict:
    """What the one cell in the middle of a picture of any size is.

    model: ``nucleated`` or ``morphology``. um_per_px: measured on the red cells where it is not
    given; give it for morphology, since a red cell measured on itself is neither large nor small.
    """
    classifier = open_one_classifier(bundle, model)
    return classifier.classify(_frame(picture), um_per_px)[0]


def estimate(
    pictures: Picture | Sequence[Picture],
    *,
    bundle: Named | None = None,
    profile: Named | None = None,
    um_per_px: float | None = None,
) -> SampleReading:
    """What the pictures of one sample say together: indices, and concentrations where the profile
    holds an analyser calibration (``estimate`` of what is returned; None with its reason).

    The field estimator reads them too, whatever the profile stands on. Raises as `screen` does.
    """
    return screen(
        pictures,
        bundle=bundle,
        profile=profile,
        um_per_px=um_per_px,
        anaemia_screen=False,
        field_estimator=True,
    ).reading


def _listed(sources: Picture | Sequence[Picture]) -> list[Picture]:
    return [sources] if isinstance(sources, str | Path | np.ndarray) else list(sources)


def _refuse_missing(path: Path) -> None:
    if not path.exists():
        raise ImageError(f"{path}: there is no such file or folder")


def _frame(picture: Picture) -> Frame:
    if isinstance(picture, np.ndarray):
        return Frame(picture, "picture")
    _refuse_missing(Path(picture))
    return read_frame(Path(picture))


def _frames_of(
    sources: Sequence[str | NDArray[np.uint8]],
    *,
    limit: int | None,
    settings: CameraSettings,
    live: LiveCapture,
) -> Iterator[Frame | FailedSource]:
    for number, source in enumerate(sources, start=1):
        if isinstance(source, np.ndarray):
            yield Frame(source, f"picture {number}")
        else:
            yield from frames([source], limit=limit, settings=settings, live=live)


def _refuse_unfit(sources: Sequence[str], equipment: Equipment) -> None:
    refuse_simulated_profile(equipment.profile, equipment.profile_name, sources)
    refuse_another_camera(equipment.profile, equipment.profile_name, sources, equipment.device)


def _rule(
    sources: Sequence[Any], equipment: Equipment, fields: int | None, counting_error: float | None
) -> StopRule:
    if not any(isinstance(source, str) and is_camera(source) for source in sources):
        return files_rule(fields, counting_error)
    wanted = equipment.device.screening
    return camera_rule(
        fields,
        counting_error,
        device_fields=wanted.fields_wanted,
        device_counting_error=wanted.counting_error,
    )
