"""The lock of what ships: it satisfies what is declared, is hashed, and nothing is missing."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from edgehemo.errors import DeviceError, UsageError
from edgehemo_firmware.dependencies.lock import (
    LockedPackage,
    locked_for,
    moved,
    read_lock,
    shipped_lock,
)
from edgehemo_firmware.dependencies.newest import declared, unbounded
from edgehemo_firmware.dependencies.sbom import required_on
from edgehemo_firmware.dependencies.targets import (
    DEVICE_EXTRAS,
    PYTHONS,
    RUNTIME_PACKAGES,
    TARGETS,
    Target,
    target_of,
    this_target,
)

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
TEXT = shipped_lock().read_text("utf-8")
LOCK = read_lock(TEXT)
DECLARED = [Requirement(line) for line in declared(PYPROJECT, DEVICE_EXTRAS)]
# Bounded at the next minor version, for their minor versions are what majors are elsewhere.
BY_MINOR = {"typst"}
HASH = "--hash=sha256:" + "0" * 64


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_target_gets_what_is_declared(target: Target) -> None:
    locked = {package.name: package.version for package in locked_for(LOCK, target)}
    for requirement in DECLARED:
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)])


def test_every_entry_has_the_digests_of_its_files() -> None:
    assert len(LOCK) >= len(DECLARED)
    for package in LOCK:
        assert package.sha256, package.name
        assert len({*package.sha256}) == len(package.sha256)
    entries = [line for line in TEXT.splitlines() if re.match(r"[A-Za-z0-9]", line)]
    assert len(entries) == len(LOCK)


@pytest.mark.parametrize("runtime", RUNTIME_PACKAGES)
def test_what_one_runtime_alone_needs_is_left_out_with_it(runtime: str) -> None:
    """By the metadata of what is installed here, where it is."""

    def needed(names: Iterable[str]) -> set[str]:
        found, left = set[str](), set(names)
        while left:
            name = left.pop()
            if name in found or name not in {package.name for package in LOCK}:
                continue
            found.add(name)
            try:
                lines = importlib.metadata.requires(name) or []
            except importlib.metadata.PackageNotFoundError:
                pytest.skip(f"{name} is not installed here")
            left |= required_on(this_target(), lines)
        return found

    others = tuple(extra for extra in DEVICE_EXTRAS if extra != runtime)
    without = {canonicalize_name(Requirement(line).name) for line in declared(PYPROJECT, others)}
    own = {canonicalize_name(Requirement(line).name) for line in declared(PYPROJECT, [runtime])}
    assert needed(own) - needed(without) == set(RUNTIME_PACKAGES[runtime])


def test_no_place_that_packages_come_from_is_named() -> None:
    assert "//" not in TEXT and "index-url" not in TEXT and "find-links" not in TEXT
    assert not re.search(r"\b[a-z0-9-]+\.(org|com|io|net|dev)\b", TEXT)


def test_nothing_that_reports_to_its_maker_is_in_it() -> None:
    assert "openvino-telemetry" not in {package.name for package in LOCK}


def test_what_the_locked_packages_need_is_locked_too() -> None:
    """By the metadata of those that are installed here in the locked version."""
    target = this_target()
    names = {package.name for package in locked_for(LOCK, target)}
    looked_at = 0
    for package in locked_for(LOCK, target):
        try:
            installed = importlib.metadata.distribution(package.name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if installed.version == package.version:
            looked_at += 1
            missing = required_on(target, installed.requires or ()) - names
            assert missing <= {"openvino-telemetry"}, package.name
    assert looked_at > 0


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_what_ships_is_bounded_above_where_it_was_tried(requirement: Requirement) -> None:
    """The bound is the next version of the kind that breaks callers, after the locked one."""
    (bound,) = [each.version for each in requirement.specifier if each.operator == "<"]
    name = canonicalize_name(requirement.name)
    newest = max(Version(package.version) for package in LOCK if package.name == name)
    parts = 2 if name in BY_MINOR else 1
    expected = (*newest.release[: parts - 1], newest.release[parts - 1] + 1)
    assert Version(bound).release[:parts] == expected
    assert not requirement.specifier.contains(bound)


def test_the_targets_are_the_pythons_that_are_declared() -> None:
    wanted = Requirement(f"x{tomllib.loads(PYPROJECT)['project']['requires-python']}").specifier
    assert [python for python in (f"3.{minor}" for minor in range(8, 20))
            if wanted.contains(f"{python}.0")] == list(PYTHONS)  # fmt: skip
    assert target_of("aarch64-3.13") == Target("aarch64", "3.13")
    with pytest.raises(UsageError, match=r"no such target; one of x86_64-3\.11"):
        target_of("aarch64-3.9")


def test_the_kiosk_is_no_light_dependency() -> None:
    light = {canonicalize_name(Requirement(line).name) for line in declared(PYPROJECT, ())}
    kiosk = {canonicalize_name(Requirement(line).name) for line in declared(PYPROJECT, ["kiosk"])}
    assert kiosk - light == {
        "argon2-cffi", "httpx", "packaging", "paho-mqtt", "pyrage", "segno", "starlette", "typst",
        "uvicorn",
    }  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "numpy==2.0",
        f"numpy>=2.0 {HASH}",
        f"numpy==2.0 {HASH} --hash=md5:00",
        f"numpy==2.0 --hash=sha256:{'0' * 63}",
        f"--index-url https://example.org/simple {HASH}",
        f"numpy @ https://example.org/numpy.whl {HASH}",
        f"numpy==2.0 ; no marker {HASH}",
        "-e .",
        "",
        "# nothing",
    ],
)
def test_what_is_no_lock_is_refused(line: str) -> None:
    with pytest.raises(DeviceError, match=r"device\.txt"):
        read_lock(line)


def test_one_name_has_one_version_on_a_target() -> None:
    packages = read_lock(f"a==1 {HASH}\na==2 ; python_version >= '3.12' {HASH}\n")
    assert [each.version for each in locked_for(packages, Target("x86_64", "3.11"))] == ["1"]
    with pytest.raises(DeviceError, match=r"a twice on x86_64-3\.12"):
        locked_for(packages, Target("x86_64", "3.12"))


def test_what_moved_is_said() -> None:
    before = [LockedPackage("a", "1", "", ()), LockedPackage("b", "1", "", ())]
    after = [LockedPackage("a", "2", "", ()), LockedPackage("c", "1", "", ())]
    assert moved(before, after) == ["a 1 -> 2", "b 1 -> absent", "c absent -> 1"]
    assert moved(before, before) == []


@pytest.mark.parametrize(
    ("line", "freed"),
    [
        ("numpy>=1.26,<3", "numpy>=1.26"),
        ("typst~=0.15", "typst"),
        ("a[b]>=1,!=1.5,<2; python_version < '4'", 'a[b]!=1.5,>=1; python_version < "4"'),
        ("a==1", "a"),
    ],
)
def test_the_newest_is_asked_for_without_upper_bounds(line: str, freed: str) -> None:
    assert unbounded(line) == freed
