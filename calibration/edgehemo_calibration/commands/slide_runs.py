"""Pictures of a slide that is measured again and again, read as this device's screening reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgehemo.commands import common
from edgehemo.errors import CalibrationError, FieldError, ImageError, UsageError

if TYPE_CHECKING:
    from edgehemo.control.repeatability import Run
    from edgehemo.estimate.network import NetworkTask
    from edgehemo.profile.profile import CalibrationProfile
    from edgehemo.screening.field import FieldReading
    from edgehemo.screening.sample import UnreadableImage

    Read = Callable[[Path], FieldReading | UnreadableImage]


def open_reader(bundle: Path | None, profile: CalibrationProfile) -> tuple[Read, str]:
    """What reads one picture as a screening does, and the bundle's SHA-256.

    No cell is named: types are no part of what a control slide is judged by. Results that are
    withheld for an expired calibration or a failed check are measured here all the same. Raises
    BundleError: what a screening cannot measure, a control slide cannot vouch for.
    """
    from edgehemo.device.equipment import calibrated_on_network, open_finder
    from edgehemo.images.reading import read_frame
    from edgehemo.screening.field import FieldReader
    from edgehemo.screening.sample import UnreadableImage
    from edgehemo_calibration.commands.equipment import field_networks

    _, opened, finder = open_finder(bundle)
    wanted: tuple[NetworkTask, ...] = ("field_estimator",) if calibrated_on_network(profile) else ()
    reader = FieldReader(
        finder,
        networks=field_networks(opened, wanted),
        profile=profile,
        envelope=opened.envelope("cell_finder"),
    )

    def read(image: Path) -> FieldReading | UnreadableImage:
        try:
            return reader.read(read_frame(image))
        except (ImageError, FieldError) as error:
            return UnreadableImage(str(image), str(error))

    return read, opened.digest


def read_groups(
    groups: Sequence[Sequence[Path]], read: Read
) -> list[list[FieldReading | UnreadableImage]]:
    """Every picture of every group, with a progress bar over all of them."""
    readings = []
    with common.Progress("measuring", total=sum(len(images) for images in groups)) as progress:
        for images in groups:
            of_group = []
            for image in images:
                of_group.append(read(image))
                progress.advance()
            readings.append(of_group)
    return readings


def measured_runs(
    folders: Sequence[Path], profile: CalibrationProfile, bundle: Path | None
) -> list[Run]:
    """One run a folder of pictures. Raises UsageError naming what is not a folder."""
    from edgehemo.control.repeatability import run_of
    from edgehemo.images.reading import images_in
    from edgehemo_calibration.pictures_given import same_files

    missing = [str(folder) for folder in folders if not folder.is_dir()]
    if missing:
        raise UsageError(f"each run is a folder of pictures; these are none: {', '.join(missing)}")
    groups = [images_in([str(folder)]) for folder in folders]
    if problems := same_files([image for images in groups for image in images]):
        raise CalibrationError(f"take new pictures for each run: {'; '.join(problems)}")
    read, digest = open_reader(bundle, profile)
    return [
        run_of(folder.name, images, profile, digest)
        for folder, images in zip(folders, read_groups(groups, read), strict=True)
    ]
