"""An installed kiosk under systemd, in a container: ready, killed, hung, cut; back each time.

The rest of the scenes, and many cuts, are run by `make soak`; its figures are kept.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.container_scenes import (
    SHORT_WATCHDOG,
    SHORT_WATCHDOG_S,
    Device,
    hang,
    power_cuts,
    processes_killed,
    update_confirmed,
    update_left,
    writes_outside,
)
from tests.lab.kiosk_container import kiosk_container

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    """One device for all tests, switched on; in the end all that was signed at it is there."""
    with kiosk_container(tmp_path_factory.mktemp("device") / "disk", SHORT_WATCHDOG) as container:
        container.boot()
        device = Device(container)
        yield device
        container.off()
        device.check_records()


def test_it_boots_and_nothing_is_written_outside_the_data_partition(device: Device) -> None:
    assert device.container.inside("systemctl", "--failed", "--plain", "--no-legend").stdout == ""
    assert writes_outside(device) == {"files_outside": 0}


def test_each_process_may_be_killed(device: Device) -> None:
    assert len(processes_killed(device)) == 3


def test_a_hang_ends_by_the_watchdog(device: Device) -> None:
    """Not at once, for it may only be slow."""
    assert SHORT_WATCHDOG_S / 2 < hang(device)["bitten_s"] < 4 * SHORT_WATCHDOG_S  # type: ignore[operator]


def test_a_pulled_plug_loses_no_signed_result(device: Device) -> None:
    assert power_cuts(device)["cuts"] == 1


def test_an_update_is_proved_at_the_next_start(device: Device) -> None:
    assert set(update_confirmed(device)) == {"built_s", "boot_s"}


def test_an_update_that_fails_at_the_next_start_is_left_and_the_other_says_why(
    device: Device,
) -> None:
    assert set(update_left(device)) == {"boot_s"}
