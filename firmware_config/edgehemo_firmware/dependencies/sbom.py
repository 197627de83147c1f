"""The software bill of materials of a device: CycloneDX, from the lock and what it installs.

``python -m edgehemo_firmware.dependencies.sbom aarch64-3.13 --out FILE`` installs the lock for that
target into a scratch folder, each file held against its SHA-256, and reads names, licences and
requirements there. The same lock gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import Distribution, distributions, requires
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgehemo.errors import DeviceError
from edgehemo.files.atomic import write_text_atomically
from edgehemo.version import __version__
from edgehemo_firmware.dependencies.licences import LicenceError, licence_of, ships
from edgehemo_firmware.dependencies.lock import (
    LockedPackage,
    locked_for,
    read_lock,
    run_uv,
    shipped_lock,
)
from edgehemo_firmware.dependencies.targets import DEVICE_EXTRAS, TARGETS, Target, target_of

SCHEMA = SchemaVersion.V1_6
OURS = "edgehemo"
# Of what is known of an entry: the digests are of every published file of the version.
HASHES_NOTE = "one of the SHA-256s is that of the file that was installed"
_NAMESPACE = uuid.UUID("6b9a7a0e-0f0c-5d1e-9c44-0b8ad4a1f7d3")


def installed_in(folder: Path) -> dict[str, Distribution]:
    """Canonical name -> distribution, of what lies in a folder of installed packages."""
    return {canonicalize_name(each.name): each for each in distributions(path=[str(folder)])}


def install_locked(folder: Path, target: Target, lock: str) -> None:
    """Install a lock for ``target`` into ``folder``; every file is held against its SHA-256."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "device.txt"
        wanted.write_text(lock, "utf-8")
        run_uv(
            ["pip", "install", "--target", str(folder), "--python-version", target.python,
             "--python-platform", target.platform, "--no-deps", "--require-hashes",
             "--only-binary", ":all:", "--requirement", str(wanted)]
        )  # fmt: skip


def licences(
    packages: Iterable[LockedPackage], installed: Mapping[str, Distribution]
) -> dict[str, str]:
    """Name -> SPDX expression of each package.

    Raises LicenceError that names every package whose licence does not ship or is not known, and
    DeviceError where one is not installed in the locked version.
    """
    found, wrong = {}, []
    for package in packages:
        distribution = installed.get(package.name)
        if distribution is None or distribution.version != package.version:
            raise DeviceError(f"{package.name} {package.version} is in the lock and not installed")
        licence = licence_of(distribution)
        if licence is None:
            wrong.append(f"{package.name}: its licence is not known; look, and say it in `SPDX_OF`")
        elif not ships(licence):
            wrong.append(f"{package.name}: {licence} does not ship")
        else:
            found[package.name] = licence
    if wrong:
        raise LicenceError("; ".join(wrong))
    return found


def bill_of_materials(
    packages: Sequence[LockedPackage],
    installed: Mapping[str, Distribution],
    target: Target,
    declared: Iterable[str],
    version: str = __version__,
) -> str:
    """CycloneDX JSON of a lock's packages on a target: licences, SHA-256s, who needs what.

    declared: what edgehemo itself requires, lines as in its metadata. version: its own. Raises as
    `licences`.
    """
    here = locked_for(packages, target)
    named = licences(here, installed)
    factory = LicenseFactory()
    bom = Bom()
    bom.metadata.component = root = Component(
        type=ComponentType.APPLICATION,
        name=OURS,
        version=version,
        bom_ref=OURS,
        purl=PackageURL("pypi", None, OURS, version),
        licenses=[factory.make_from_string("Apache-2.0")],
        properties=[Property(name="edgehemo:target", value=str(target))],
    )
    components = {
        package.name: Component(
            type=ComponentType.LIBRARY,
            name=package.name,
            version=package.version,
            bom_ref=f"{package.name}=={package.version}",
            purl=PackageURL("pypi", None, package.name, package.version),
            licenses=[factory.make_from_string(named[package.name])],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in package.sha256],
            properties=[Property(name="edgehemo:hashes", value=HASHES_NOTE)],
        )
        for package in here
    }
    for component in components.values():
        bom.components.add(component)
    asked = {root: required_on(target, declared, extras=DEVICE_EXTRAS)}
    asked |= {
        component: required_on(target, installed[name].requires or ())
        for name, component in components.items()
    }
    for component, names in asked.items():
        # What is asked for and not in the lock is left out on purpose: see [tool.uv].
        needed = [components[name] for name in sorted(names & {*components})]
        bom.register_dependency(component, needed)
    bom.serial_number = uuid.uuid5(
        _NAMESPACE, json.dumps([version, str(target), *sorted(str(each) for each in here)])
    )
    told = json.loads(JsonV1Dot6(bom).output_as_string())
    # The bill names no day: it is the same for the same lock.
    del told["metadata"]["timestamp"]
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def required_on(target: Target, lines: Iterable[str], *, extras: Iterable[str] = ()) -> set[str]:
    """Canonical names that requirement lines ask for on a target, with ``extras``.

    An extra that names others of our own asks for what these ask for.
    """
    requirements = [Requirement(line) for line in lines]
    wanted, known = {"", *extras}, set[str]()
    names: set[str] = set()
    while wanted - known:
        known |= wanted
        for requirement in requirements:
            marker = requirement.marker
            if marker is not None and not any(
                marker.evaluate({**target.markers(), "extra": extra}) for extra in known
            ):
                continue
            if (name := canonicalize_name(requirement.name)) == OURS:
                wanted |= requirement.extras
            else:
                names.add(name)
    return names


def check_bill(text: str) -> None:
    """DeviceError, with the first fault, for what is no CycloneDX of `SCHEMA`."""
    if (fault := JsonStrictValidator(SCHEMA).validate_str(text)) is not None:
        raise DeviceError(f"the bill of materials is not CycloneDX: {fault!r}"[:500])


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the bill of materials of one target."""
    parser = argparse.ArgumentParser(description="Write the bill of materials of a device.")
    parser.add_argument("target", help=f"one of {', '.join(map(str, TARGETS))}")
    parser.add_argument("--out", type=Path, required=True, help="the file, such as x.cdx.json")
    options = parser.parse_args(arguments)
    target = target_of(options.target)
    lock = shipped_lock().read_text("utf-8")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        install_locked(folder, target, lock)
        text = bill_of_materials(
            read_lock(lock), installed_in(folder), target, requires(OURS) or ()
        )
    check_bill(text)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(options.out, text)
    print(f"{options.out}: {len(json.loads(text)['components'])} packages of {target}")


if __name__ == "__main__":
    from edgehemo_firmware.dependencies.running import run_as_tool

    run_as_tool(main)
