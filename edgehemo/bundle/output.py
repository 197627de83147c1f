"""What the commands that deal with bundles and keys write as JSON."""

from __future__ import annotations

from typing import Literal

from msgspec import UNSET, UnsetType

from edgehemo.bundle.bundle import Bundle, Trust
from edgehemo.bundle.manifest import ModelTask
from edgehemo.files.strict import Record, Sha256

Role = Literal["in use", "before", "left over"]


class BundleEntry(Record, frozen=True, kw_only=True):
    """A bundle. sha256: of its manifest. models: their tasks."""

    name: str
    serial: int
    sha256: Sha256
    trust: Trust
    signed_by: str | None
    models: list[ModelTask]

    @classmethod
    def of(cls, bundle: Bundle) -> BundleEntry:
        return cls(
            name=bundle.manifest.name,
            serial=bundle.manifest.serial,
            sha256=bundle.digest,
            trust=bundle.trust,
            signed_by=bundle.signed_by,
            models=[entry.task for entry in bundle.manifest.models],
        )


class StoredBundleEntry(Record, frozen=True, kw_only=True):
    """A bundle in the device's store. problem: why it cannot be used, null where it can. What its
    manifest says is left out where that cannot be read.
    """

    name: str | UnsetType = UNSET
    serial: int | UnsetType = UNSET
    sha256: Sha256 | UnsetType = UNSET
    trust: Trust | UnsetType = UNSET
    signed_by: str | UnsetType | None = UNSET
    models: list[ModelTask] | UnsetType = UNSET
    folder: str
    role: Role
    problem: str | None

    @classmethod
    def of(
        cls, bundle: Bundle | None, *, folder: str, role: Role, problem: str | None
    ) -> StoredBundleEntry:
        if bundle is None:
            return cls(folder=folder, role=role, problem=problem)
        said = BundleEntry.of(bundle)
        return cls(
            name=said.name,
            serial=said.serial,
            sha256=said.sha256,
            trust=said.trust,
            signed_by=said.signed_by,
            models=said.models,
            folder=folder,
            role=role,
            problem=problem,
        )


class BundleInstallOutput(Record, frozen=True, kw_only=True):
    """The bundle that is in use now."""

    schema: Literal["edgehemo.bundle-install/1"] = "edgehemo.bundle-install/1"
    bundle: BundleEntry


class BundleRollbackOutput(Record, frozen=True, kw_only=True):
    """The bundle that is in use now."""

    schema: Literal["edgehemo.bundle-rollback/1"] = "edgehemo.bundle-rollback/1"
    bundle: BundleEntry


class BundleListOutput(Record, frozen=True, kw_only=True):
    """The bundles of this device, the one in use first, and the one that comes with edgehemo."""

    schema: Literal["edgehemo.bundle-list/1"] = "edgehemo.bundle-list/1"
    bundles: list[StoredBundleEntry]
    shipped: BundleEntry


class KeyEntry(Record, frozen=True, kw_only=True):
    """A public key."""

    identifier: str
    name: str


class KeysOutput(Record, frozen=True, kw_only=True):
    """The keys this device trusts."""

    schema: Literal["edgehemo.keys/1"] = "edgehemo.keys/1"
    keys: list[KeyEntry]
