"""The bill of materials, and the licences of what ships."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgehemo.errors import DeviceError
from edgehemo_firmware.dependencies.licences import LicenceError, licence_of, ships
from edgehemo_firmware.dependencies.lock import LockedPackage, locked_for, read_lock, shipped_lock
from edgehemo_firmware.dependencies.newest import declared
from edgehemo_firmware.dependencies.sbom import (
    bill_of_materials,
    check_bill,
    installed_in,
    licences,
    required_on,
)
from edgehemo_firmware.dependencies.targets import DEVICE_EXTRAS, Target, this_target

HERE = Target("x86_64", "3.11")
ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
LOCK = read_lock(shipped_lock().read_text("utf-8"))
DECLARED = [
    'alpha>=1; extra == "kiosk"', "beta<3", 'edgehemo[inner]; extra == "kiosk"',
    'gamma; extra == "inner"', 'torch; extra == "host"',
]  # fmt: skip


def installed(folder: Path, name: str, version: str, *lines: str, text: str = "") -> None:
    """A distribution of one file, as an installer leaves it."""
    place = folder / f"{name}-{version}.dist-info"
    place.mkdir(parents=True)
    head = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *lines]
    if text:
        (place / "LICENSE").write_text(text)
        head.append("License-File: LICENSE")
    (place / "METADATA").write_text("\n".join(head) + "\n\n")
    (place / "RECORD").write_text(
        "".join(f"{place.name}/{file.name},,\n" for file in place.iterdir())
    )


@pytest.fixture
def three(tmp_path: Path) -> dict[str, Distribution]:
    installed(tmp_path, "alpha", "1.0", "License-Expression: MIT", "Requires-Dist: beta>=2")
    installed(tmp_path, "beta", "2.0", "License: BSD-3-Clause AND MIT", "Requires-Dist: spied")
    installed(tmp_path, "gamma", "3.0", "Classifier: License :: OSI Approved :: MIT License")
    return installed_in(tmp_path)


PACKAGES = [
    LockedPackage("alpha", "1.0", "", ("a" * 64, "b" * 64)),
    LockedPackage("beta", "2.0", "platform_machine == 'x86_64'", ("c" * 64,)),
    LockedPackage("beta", "1.0", "platform_machine == 'aarch64'", ("d" * 64,)),
    LockedPackage("gamma", "3.0", "", ("e" * 64,)),
]


def test_the_bill_names_each_package_with_licence_digests_and_what_it_needs(
    three: Mapping[str, Distribution],
) -> None:
    text = bill_of_materials(PACKAGES, three, HERE, DECLARED)
    check_bill(text)
    told = json.loads(text)
    assert (told["bomFormat"], told["specVersion"]) == ("CycloneDX", "1.6")
    components = {item["name"]: item for item in told["components"]}
    assert {name: item["version"] for name, item in components.items()} == {
        "alpha": "1.0", "beta": "2.0", "gamma": "3.0",
    }  # fmt: skip
    alpha = components["alpha"]
    assert alpha["purl"] == "pkg:pypi/alpha@1.0"
    assert {(item["alg"], item["content"]) for item in alpha["hashes"]} == {
        ("SHA-256", "a" * 64), ("SHA-256", "b" * 64),
    }  # fmt: skip
    assert alpha["licenses"] == [{"license": {"id": "MIT"}}]
    assert components["beta"]["licenses"] == [{"expression": "BSD-3-Clause AND MIT"}]
    needs = {item["ref"]: item.get("dependsOn", []) for item in told["dependencies"]}
    assert needs == {
        "edgehemo": ["alpha==1.0", "beta==2.0", "gamma==3.0"],
        "alpha==1.0": ["beta==2.0"], "beta==2.0": [], "gamma==3.0": [],
    }  # fmt: skip


def test_the_same_lock_gives_the_same_bytes(three: Mapping[str, Distribution]) -> None:
    text = bill_of_materials(PACKAGES, three, HERE, DECLARED)
    assert bill_of_materials(PACKAGES[::-1], three, HERE, DECLARED) == text
    assert "timestamp" not in text


def test_what_is_no_cyclonedx_is_refused(three: Mapping[str, Distribution]) -> None:
    told = json.loads(bill_of_materials(PACKAGES, three, HERE, DECLARED))
    told["components"][0]["hashes"][0]["content"] = "no digest"
    with pytest.raises(DeviceError, match="not CycloneDX"):
        check_bill(json.dumps(told))


def test_another_version_than_the_locked_one_is_not_listed(
    three: Mapping[str, Distribution],
) -> None:
    with pytest.raises(DeviceError, match=r"beta 1\.0 is in the lock and not installed"):
        bill_of_materials(PACKAGES, three, Target("aarch64", "3.11"), DECLARED)


def test_a_licence_that_does_not_ship_or_is_unknown_stops_the_bill(tmp_path: Path) -> None:
    installed(tmp_path, "alpha", "1.0", "License-Expression: AGPL-3.0-or-later")
    installed(tmp_path, "beta", "2.0", "License: ask the author")
    installed(tmp_path, "gamma", "3.0", "License-Expression: MIT")
    with pytest.raises(LicenceError) as caught:
        bill_of_materials(PACKAGES, installed_in(tmp_path), HERE, DECLARED)
    assert "alpha: AGPL-3.0-or-later does not ship" in str(caught.value)
    assert "beta: its licence is not known" in str(caught.value)


def test_extras_of_our_own_are_followed() -> None:
    assert required_on(HERE, DECLARED) == {"beta"}
    assert required_on(HERE, DECLARED, extras=["kiosk"]) == {"alpha", "beta", "gamma"}


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("AGPL-3.0-or-later", False),
        ("LGPL-2.1-or-later", True),
        ("MIT OR GPL-2.0-only", True),
        ("MIT AND GPL-2.0-only", False),
        ("GPL-3.0-or-later WITH GCC-exception-3.1", True),
        ("MIT AND (GPL-2.0-only OR BSD-3-Clause)", True),
        ("no licence at all", False),
    ],
)
def test_what_may_ship(expression: str, allowed: bool) -> None:
    assert ships(expression) is allowed


@pytest.mark.parametrize(
    ("lines", "text", "expected"),
    [
        (["License: Apache License, Version 2.0"], "", "Apache-2.0"),
        (["License: the whole text\n        over lines"], "", None),
        (["License: x", "Classifier: License :: OSI Approved :: BSD License"], "", "BSD-3-Clause"),
        (["License-Expression: BSD-3-Clause", "License: GPL-3.0-only"], "", "BSD-3-Clause"),
        ([], "The MIT License (MIT)\n\nCopyright\n", "MIT"),
        ([], "GNU GENERAL PUBLIC LICENSE\n", None),
        ([], "", None),
    ],
)
def test_where_a_package_says_its_licence(
    tmp_path: Path, lines: list[str], text: str, expected: str | None
) -> None:
    installed(tmp_path, "alpha", "1.0", *lines, text=text)
    assert licence_of(installed_in(tmp_path)["alpha"]) == expected


def test_what_ships_comes_under_licences_that_ship() -> None:
    """By the metadata of what is installed here in the locked version; `make sbom` asks of all."""
    here = []
    for package in locked_for(LOCK, this_target()):
        try:
            version = importlib.metadata.version(package.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if version == package.version:
            here.append(package)
    found = licences(here, {each.name: importlib.metadata.distribution(each.name) for each in here})
    assert len(found) == len(here) > 0


def test_what_is_declared_for_devices_is_in_the_lock() -> None:
    names = {
        canonicalize_name(Requirement(line).name) for line in declared(PYPROJECT, DEVICE_EXTRAS)
    }
    assert names <= {package.name for package in LOCK}
