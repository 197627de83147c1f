"""Opens what a screening runs on: the device configuration, the bundle, the profile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgehemo.bundle.bundle import Bundle, load_bundle
from edgehemo.capture.protocol import CameraSettings
from edgehemo.cells.finder import CellFinder, open_cell_finder
from edgehemo.cells.typing import open_cell_typer, open_classifier
from edgehemo.device.configuration import DeviceConfiguration, load_device
from edgehemo.memory import secure
from edgehemo.quality.focus import SlideScale, frame_sharpness
from edgehemo.screening.field import FieldReader

if TYPE_CHECKING:
    from edgehemo.bundle.manifest import ModelTask
    from edgehemo.capture.autocapture import Judge
    from edgehemo.cells.cell import FieldCells
    from edgehemo.cells.typing import CellClassifier, CellTyper
    from edgehemo.estimate.network import FieldNetworks, NetworkTask
    from edgehemo.field.canonical import CanonicalField
    from edgehemo.guidance.withheld import Withheld
    from edgehemo.profile.profile import CalibrationProfile


class TyperBeside:
    """A cell typer that is opened in a thread of its own and waited for when it is asked."""

    def __init__(self, open_typer: Callable[[], CellTyper]) -> None:
        self._opening = ThreadPoolExecutor(max_workers=1).submit(open_typer)

    @property
    def classifiers(self) -> Mapping[ModelTask, CellClassifier]:
        return self._opening.result().classifiers

    def typed(self, field: CanonicalField, cells: FieldCells) -> FieldCells:
        return self._opening.result().typed(field, cells)


log = logging.getLogger(__name__)

# Memory addressed to open and to run these, rounded up; measured with ONNX Runtime on x86-64, two
# threads: 186 and 181 MB (finder, classifiers), 218 and 37 MB (networks, the run).
_FINDER_BYTES = 200_000_000
_TYPER_BYTES = 250_000_000
_NETWORKS_BYTES = 300_000_000


@dataclass(frozen=True, slots=True)
class Equipment:
    """The three artefacts of this device, opened; profile and its name are None without one.

    blocked: why no result may be given now (`edgehemo.device.readiness`), None where they may.
    notes: what every result must say of the profile.
    """

    device: DeviceConfiguration
    bundle: Bundle
    finder: CellFinder
    profile: CalibrationProfile | None
    profile_name: str | None
    blocked: Withheld | None = None
    notes: tuple[str, ...] = ()

    @property
    def envelope(self) -> dict[str, Any] | None:
        """Where the cell finder's training fields lay; outside it quality refuses."""
        return self.bundle.envelope("cell_finder")

    def camera_settings(self) -> CameraSettings:
        """The profile's settings, under which its light was measured, the device's over them."""
        own = self.device.camera.settings()
        profile = self.profile
        if profile is None or profile.illumination is None or profile.illumination.settings is None:
            return own
        return CameraSettings(**profile.illumination.settings.model_dump()).overlaid(own)

    def judge(self, um_per_px: float | None = None, slide: SlideScale | None = None) -> Judge:
        """What tells the focus of a live frame as quality will judge it.

        slide: says the scale of the fields taken so far, see `frame_sharpness`.
        """
        return partial(frame_sharpness, profile=self.profile, um_per_px=um_per_px, slide=slide)

    def networks_wanted(
        self, *, field_estimator: bool = False, anaemia_screen: bool | None = None
    ) -> tuple[NetworkTask, ...]:
        """The networks whose outputs somebody asks for.

        The field estimator where ``field_estimator`` says so or the profile's calibration stands on
        it; the anaemia screen as ``anaemia_screen`` says, None: as the device configuration does.
        """
        if anaemia_screen is None:
            anaemia_screen = self.device.screening.anaemia_screen
        wanted: list[NetworkTask] = []
        if field_estimator or calibrated_on_network(self.profile):
            wanted.append("field_estimator")
        if anaemia_screen:
            wanted.append("anaemia_screen")
        return tuple(wanted)

    def reader(
        self, um_per_px: float | None = None, *, networks: tuple[NetworkTask, ...] | None = None
    ) -> FieldReader:
        """Reads fields as a screening does, with these networks; None: those that `networks_wanted`
        names when nothing more is asked for. Raises BundleError.
        """
        wanted = self.networks_wanted() if networks is None else networks
        secure(_TYPER_BYTES + (_NETWORKS_BYTES if wanted else 0))
        return FieldReader(
            finder=self.finder,
            typer=self.open_typer(),
            networks=self.open_networks(wanted),
            profile=self.profile,
            envelope=self.envelope,
            um_per_px=um_per_px,
        )

    def judging_reader(self, um_per_px: float | None = None) -> FieldReader:
        """Reads fields as far as quality's verdict: no cell is named and nothing is measured."""
        return FieldReader(
            finder=self.finder,
            profile=self.profile,
            envelope=self.envelope,
            um_per_px=um_per_px,
            measure=False,
        )

    def cells_reader(self, um_per_px: float | None = None) -> FieldReader:
        """Reads the cells of fields, of refused ones too, and measures nothing.

        The classifiers are opened beside, while the caller goes on; a BundleError of theirs comes
        when they are first asked.
        """
        return FieldReader(
            finder=self.finder,
            typer=TyperBeside(self.open_typer),
            profile=self.profile,
            envelope=self.envelope,
            um_per_px=um_per_px,
            measure=False,
            keep_refused=True,
        )

    def open_typer(self) -> CellTyper:
        """The bundle's cell classifiers, opened; it may hold none. Raises BundleError."""
        secure(_TYPER_BYTES)
        return open_cell_typer(self.bundle, **self.device.inference.opening())

    def open_networks(self, tasks: tuple[NetworkTask, ...]) -> FieldNetworks | None:
        """Those networks that read whole fields, opened; None where none is asked for.

        Raises BundleError.
        """
        if not tasks:
            return None
        # Two networks that most screenings run without: nobody waits for what reads them.
        from edgehemo.estimate.network import open_field_networks  # noqa: PLC0415

        secure(_NETWORKS_BYTES)
        return open_field_networks(self.bundle, tasks, **self.device.inference.opening())


def calibrated_on_network(profile: CalibrationProfile | None) -> bool:
    """Whether a concentration of this profile's calibration stands on the field estimator."""
    if profile is None or profile.analyser is None:
        return False
    # Only a profile with a calibration names estimators.
    from edgehemo.estimate.estimators import need_network  # noqa: PLC0415

    return need_network(item.estimator for item in profile.analyser.measurands)


def open_bundle(named: str | Path | None, device: DeviceConfiguration) -> Bundle:
    """The bundle named, else configured, else installed, else shipped.

    Raises BundleError, also for a named one older than what was installed on this device. Where the
    installed one is damaged, the one before or the shipped one is opened, with a warning.
    """
    path = named if named is not None else device.paths.bundle
    if not (device.data_dir / "bundles").is_dir():  # nothing was ever installed
        return load_bundle(Path(path) if path is not None else None)
    # Where nothing was installed nobody waits for what checks an installation.
    from edgehemo.device.installed_bundles import BundleStore, open_in_use  # noqa: PLC0415

    if path is None:
        return open_in_use(device.data_dir)
    loaded = load_bundle(Path(path))
    BundleStore(device.data_dir).refuse_older(loaded)
    return loaded


def open_finder(bundle: str | Path | None) -> tuple[DeviceConfiguration, Bundle, CellFinder]:
    """This device's configuration, and the bundle named, else configured, else shipped, opened.

    Raises DeviceError or BundleError, one line each.
    """
    device = load_device(None)
    loaded = open_bundle(bundle, device)
    secure(_FINDER_BYTES)
    finder = open_cell_finder(loaded, **device.inference.opening())
    return device, loaded, finder


def open_one_classifier(bundle: str | Path | None, task: ModelTask) -> CellClassifier:
    """A classifier of the bundle named, else configured, else shipped.

    Raises DeviceError or BundleError, one line each.
    """
    device = load_device(None)
    secure(_TYPER_BYTES)
    return open_classifier(open_bundle(bundle, device), task, **device.inference.opening())


def open_equipment(bundle: str | Path | None, profile: str | Path | None) -> Equipment:
    """Open what was named, else what the device configuration names, else what is shipped.

    Raises DeviceError, BundleError or ProfileError, one line each.
    """
    device, loaded_bundle, finder = open_finder(bundle)
    named = profile if profile is not None else device.paths.profile
    profile_path = Path(named) if named is not None else None
    opened, blocked, notes = _opened_profile(
        profile_path, device, loaded_bundle.manifest.created_at
    )
    log.info(
        "bundle %s, %s profile, %s",
        loaded_bundle.digest[:12],
        "no" if opened is None else "a",
        "results are withheld" if blocked is not None else "results may be given",
    )
    return Equipment(
        device=device,
        bundle=loaded_bundle,
        finder=finder,
        profile=opened,
        profile_name=profile_path.name if profile_path is not None else None,
        blocked=blocked,
        notes=notes,
    )


def _opened_profile(
    path: Path | None, device: DeviceConfiguration, bundle_made_at: datetime
) -> tuple[CalibrationProfile | None, Withheld | None, tuple[str, ...]]:
    """A profile, why no result may be given with it now, and what results must say of it; nothing
    of these without a path.
    """
    if path is None:
        return None, None, ()
    # A device without a profile does not wait for what reads one.
    from edgehemo.device.readiness import profile_notes, why_blocked  # noqa: PLC0415
    from edgehemo.profile.profile import load_profile  # noqa: PLC0415

    profile = load_profile(path)
    now = datetime.now().astimezone()
    blocked = why_blocked(profile, path, device, now=now, bundle_made_at=bundle_made_at)
    # A history that cannot be read blocks, and says so itself.
    return profile, blocked, profile_notes(profile, path) if blocked is None else ()
