"""What runs on this device is looked up."""

from __future__ import annotations

import logging

from edgehemo.bundle.bundle import Bundle
from edgehemo.bundle.signatures import trusted_keys
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.equipment import open_bundle
from edgehemo.device.installed_bundles import BundleStore
from edgehemo.device.installed_languages import LanguageStore
from edgehemo.device.receivers import PublicationsRule
from edgehemo.errors import BundleError, UsageError
from edgehemo.published import settings
from edgehemo.published.reports import (
    MOST_OUTCOMES,
    PublicationOutcome,
    Running,
    RunningBundle,
    RunningLanguage,
)
from edgehemo.published.state import PublishedStore
from edgehemo.version import __version__

log = logging.getLogger(__name__)


def running_on(device: DeviceConfiguration, receiver: str, policy: PublicationsRule) -> Running:
    """What runs here. receiver: whose offers the outcomes are of."""
    store = PublishedStore(device.data_dir).state()
    languages = LanguageStore(device.data_dir)
    outcomes = tuple(
        PublicationOutcome(
            publication=each.sha256,
            kind=each.kind,
            standing=each.standing,
            words=each.words,
            at=each.at,
        )
        for each in store.items
        if each.origin == receiver
    )
    return Running(
        software_version=__version__,
        bundle=_bundle(device),
        languages=tuple(
            RunningLanguage(language=name, serial=each.serial, sha256=each.sha256)
            for name, each in sorted(languages.serving().items())
        ),
        settings_sha256=settings.digest_of(device, receiver),
        keys=_keys(),
        highest=_highest(device, languages, store.highest_settings),
        policy=policy,
        outcomes=outcomes[-MOST_OUTCOMES:],
    )


def _bundle(device: DeviceConfiguration) -> RunningBundle | None:
    try:
        bundle: Bundle = open_bundle(None, device)
    except BundleError as error:
        log.warning("no bundle can be opened: %s", error)
        return None
    made = bundle.manifest
    return RunningBundle(
        name=made.name,
        serial=made.serial,
        sha256=bundle.digest,
        shipped=bundle.trust == "shipped",
    )


def _keys() -> tuple[str, ...]:
    try:
        return tuple(sorted({key.identifier for key in trusted_keys()}))[:100]
    except UsageError as error:
        log.warning("%s", error)
        return ()


def _highest(
    device: DeviceConfiguration, languages: LanguageStore, of_settings: dict[str, int]
) -> dict[str, int]:
    try:
        bundles = BundleStore(device.data_dir).state().highest_serial
    except BundleError:
        bundles = {}
    return {
        **{f"bundle {name}": serial for name, serial in bundles.items()},
        **{f"language {name}": serial for name, serial in languages.state().highest_serial.items()},
        **{f"settings {name}": serial for name, serial in of_settings.items()},
    }
