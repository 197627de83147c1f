"""What an analyser's samples are measured with: this device's finder and networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgehemo.commands import common
from edgehemo.errors import BundleError

if TYPE_CHECKING:
    from edgehemo.bundle.bundle import Bundle
    from edgehemo.estimate.network import FieldNetworks, NetworkTask
    from edgehemo.profile.profile import CalibrationProfile
    from edgehemo.screening.field import FieldReader, Finder


def measuring_reader(
    bundle: Path | None, profile: CalibrationProfile, *, keep_refused: bool = False
) -> tuple[FieldReader, Bundle | None]:
    """What reads the fields of samples as a screening does, and its bundle.

    The field estimator reads them too, since the calibration may choose it; the anaemia screen and
    the types of cells are no part of one. Without any bundle, which is said, the fields are read
    without a finder and without networks. keep_refused: measure what quality
    refuses as well. Raises BundleError for a bundle that was asked for by name and does not open.
    """
    from edgehemo.screening.field import FieldReader

    finder, opened = cell_finder(bundle)
    reader = FieldReader(
        finder,
        networks=field_networks(opened, ("field_estimator",)),
        profile=profile,
        envelope=opened.envelope("cell_finder") if opened is not None else None,
        keep_refused=keep_refused,
    )
    return reader, opened


def cell_finder(bundle: Path | None) -> tuple[Finder | None, Bundle | None]:
    """The cell finder this device screens with, and its bundle; None where there is none.

    A bundle that was asked for by name must open.
    """
    from edgehemo.device.equipment import open_finder

    try:
        _, opened, finder = open_finder(bundle)
    except BundleError as error:
        if bundle is not None:
            raise
        common.complain(f"without a cell finder, nothing is counted: {error}")
        return None, None
    return finder, opened


def field_networks(opened: Bundle | None, tasks: tuple[NetworkTask, ...]) -> FieldNetworks | None:
    """Those of the bundle's networks that read whole fields, as this device runs them; None without
    a bundle or where none is asked for.
    """
    from edgehemo.device.configuration import load_device
    from edgehemo.estimate.network import open_field_networks

    if opened is None:
        return None
    return open_field_networks(opened, tasks, **load_device(None).inference.opening())
