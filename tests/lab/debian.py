"""Debian roots and guests for the lab: built from Debian's packages, kept while unchanged.

A root takes about a minute to build, so it is kept under the user's cache folder and rebuilt when
its recipe changes.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

SUITE = "trixie"
REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES_OF_A_DEVICE = ("edgehemo", "firmware_config/edgehemo_firmware")
# Wheels for 64-bit ARM, newest manylinux first.
ARM64_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
GUEST_PYTHON = "313"
BUILD_TIMEOUT_S = 900
# Marks a kept root that was made to its end; its time is that of its last use.
_WHOLE = ".whole"


def cache_folder() -> Path:
    """Where roots are kept: EDGEHEMO_LAB_CACHE, else the user's cache folder."""
    named = os.environ.get("EDGEHEMO_LAB_CACHE")
    if named:
        return Path(named)
    import platformdirs

    return Path(platformdirs.user_cache_dir("edgehemo-lab", appauthor=False))


def need_tools(**tools: str) -> None:
    """Programs that must be there, each with its Debian package; installs them where we may.

    Skips the test, naming the packages, where they are missing and cannot be installed.
    """
    missing = {program: package for program, package in tools.items() if not _found(program)}
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False, timeout=BUILD_TIMEOUT_S)
        subprocess.run(
            ["apt-get", "install", "-qq", "-y", *sorted(set(missing.values()))],
            check=False,
            timeout=BUILD_TIMEOUT_S,
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        )
        missing = {program: package for program, package in tools.items() if not _found(program)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        pytest.skip(f"needs {', '.join(sorted(missing))}: apt-get install {packages}")
    if os.geteuid() != 0:
        pytest.skip("makes a root with device nodes: run as root")


def kept(name: str, recipe: str) -> tuple[Path, bool]:
    """The folder of a kept root, and whether it is already whole for this recipe."""
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    folder = cache_folder() / f"{name}-{digest}"
    mark = folder / _WHOLE
    if mark.is_file():
        mark.touch()
    return folder, mark.is_file()


def make_room(name: str, others: int = 0) -> None:
    """Before another root of a name is made: remove those that are kept of it.

    others: so many stay, the last used. They may be of other copies of this repository.
    """
    roots = sorted(cache_folder().glob(f"{name}-*"), key=_last_used, reverse=True)
    for root in roots[others:]:
        shutil.rmtree(root)


def _last_used(root: Path) -> float:
    """When a kept root was asked for; one that is not whole never was, s since 1970."""
    mark = root / _WHOLE
    return mark.stat().st_mtime if mark.exists() else 0.0


def source_digest() -> str:
    """Of everything that a device's wheel is made of."""
    digest = hashlib.sha256()
    files = [REPOSITORY / "pyproject.toml"]
    for package in PACKAGES_OF_A_DEVICE:
        files += sorted(path for path in (REPOSITORY / package).rglob("*") if path.is_file())
    for path in files:
        if "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(REPOSITORY)}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def mark_whole(folder: Path) -> None:
    (folder / _WHOLE).touch()


def bootstrap(
    root: Path,
    include: Sequence[str],
    *,
    variant: str,
    architecture: str | None = None,
    options: Sequence[str] = (),
    timeout_s: float = BUILD_TIMEOUT_S,
) -> None:
    """A Debian root with the packages named; skips where the mirror cannot be reached.

    options: further ones of mmdebstrap.
    """
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    command = ["mmdebstrap", "--quiet", f"--variant={variant}", f"--include={','.join(include)}"]
    if architecture is not None:
        command.append(f"--arch={architecture}")
    made = subprocess.run(
        [*command, *options, SUITE, str(root)], capture_output=True, text=True, timeout=timeout_s
    )
    if made.returncode:
        shutil.rmtree(root, ignore_errors=True)
        pytest.skip(f"Debian's packages could not be had: {_last_line(made.stderr)}")


def give_network(root: Path) -> None:
    """The host's name resolution and certificates, for pip inside a root."""
    for file in ("/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt"):
        if Path(file).is_file():
            target = root / file.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def in_root(
    root: Path, *command: str, timeout_s: float = BUILD_TIMEOUT_S, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command inside a root; its output is captured, its exit code is the caller's."""
    # A folder of wheels on this machine means nothing inside a root.
    plain = {k: v for k, v in os.environ.items() if k not in ("PIP_FIND_LINKS", "VIRTUAL_ENV")}
    return subprocess.run(
        ["chroot", str(root), *command],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**plain, **environment},
    )


def arm64_wheels(target: Path, *requirements: str) -> None:
    """Wheels for the guest's Python and processor; skips where they cannot be had."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
    for platform in ARM64_PLATFORMS:
        command += ["--platform", platform]
    command += ["--python-version", GUEST_PYTHON, "--implementation", "cp"]
    command += ["--only-binary=:all:", "--target", str(target), *requirements]
    made = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    if made.returncode:
        pytest.skip(f"wheels for ARM could not be had: {_last_line(made.stderr)}")


def _found(program: str) -> bool:
    return shutil.which(program) is not None


def _last_line(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1] if lines else "no reason was given"
