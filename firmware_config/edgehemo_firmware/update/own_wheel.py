"""The wheel of edgehemo itself, for media: built from a checkout, or packed from what is installed.

In a checkout it is built from what git tracks, in a folder of its own, so that nothing lying about
gets in and nothing is left behind. Without one, the files that the installed package lists are put
together again, each held against its digest there.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from edgehemo.errors import MissingDependencyError, UsageError
from edgehemo.files.atomic import write_bytes_atomically
from edgehemo_firmware.dependencies.lock import REPOSITORY

OURS = "edgehemo"
BUILD_TIMEOUT_S = 900
# Where nothing is tracked, what is left out of a copy of the source.
_LEFT_OUT = shutil.ignore_patterns(
    ".*", "__pycache__", "*.egg-info", "build", "dist", "site", "runs", "checkpoints"
)
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "edgehemo", "export", "calibration",
            "firmware_config")  # fmt: skip
# What an installer writes into a package's metadata about itself.
_INSTALLERS_OWN = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")


def own_wheel(folder: Path, source: Path | None = None) -> Path:
    """Put the wheel of edgehemo into a folder; its path.

    source: a checkout to build from; None: the one this runs from, else the installed package.
    UsageError with the builder's words where it cannot be built.
    """
    if source is None and (REPOSITORY / "pyproject.toml").is_file():
        source = REPOSITORY
    if source is not None:
        return built_wheel(source, folder)
    try:
        return packed_wheel(distribution(OURS), folder)
    except PackageNotFoundError:
        raise UsageError(
            "edgehemo is neither installed nor run from a checkout: nothing to make a wheel of"
        ) from None


def built_wheel(source: Path, folder: Path) -> Path:
    """Build the wheel from a checkout; UsageError where it is none."""
    if lacking := [name for name in _SOURCES if not (source / name).exists()]:
        raise UsageError(f"{source}: is no checkout of edgehemo: it has no {', '.join(lacking)}")
    with tempfile.TemporaryDirectory() as scratch:
        copy, made = Path(scratch) / "source", Path(scratch) / "wheel"
        _copy_source(source, copy)
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet",
             "--no-deps", "--wheel-dir", str(made), str(copy)],
            capture_output=True, text=True, timeout=BUILD_TIMEOUT_S,
        )  # fmt: skip
        if done.returncode:
            said = words_of_pip(done.stderr)
            raise UsageError(f"{source}: no wheel could be built of it: {said}")
        (wheel,) = made.glob("*.whl")
        return Path(shutil.copyfile(wheel, folder / wheel.name))


def words_of_pip(stderr: str) -> str:
    """What pip complains of; MissingDependencyError where it is not installed."""
    if "No module named pip" in stderr:
        raise MissingDependencyError("pip is not installed: python -m ensurepip")
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    named = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return "; ".join(named or lines[-1:])[:1500] or "it said nothing"


def _copy_source(source: Path, copy: Path) -> None:
    listed = None
    if (source / ".git").exists() and shutil.which("git"):
        done = subprocess.run(
            ["git", "ls-files", "-z", "--", *_SOURCES], cwd=source, capture_output=True
        )
        listed = done.stdout.decode().split("\0") if done.returncode == 0 else None
    if listed is None:
        for name in _SOURCES:
            if (source / name).is_dir():
                shutil.copytree(source / name, copy / name, ignore=_LEFT_OUT)
            else:
                copy.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source / name, copy / name)
        return
    for name in listed:
        # A file that was deleted and is still tracked is left out.
        if name and (source / name).is_file() and "/checkpoints/" not in name:
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, copy / name)


def packed_wheel(installed: Distribution, folder: Path) -> Path:
    """Put an installed package together again as a wheel; the same files give the same bytes.

    UsageError where a file is missing or other than its package lists it, or where it is installed
    from a folder and has no files of its own.
    """
    info = f"{OURS}-{installed.version}.dist-info"
    members: dict[str, bytes] = {}
    for file in installed.files or ():
        name = file.as_posix()
        if name.endswith(".pyc") or name.startswith("../") or file.name in _INSTALLERS_OWN:
            continue  # bytecode, the command of this machine, what its installer wrote
        path = Path(str(installed.locate_file(file)))
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(
                f"{path}: cannot be read ({error.strerror}); reinstall edgehemo"
            ) from None
        if file.hash is not None and _digest(content, file.hash.mode) != file.hash.value:
            raise UsageError(f"{path}: was changed since it was installed; reinstall edgehemo")
        members[name] = content
    if f"{info}/WHEEL" not in members or f"{OURS}/__init__.py" not in members:
        raise UsageError(
            "edgehemo is installed from a folder that is not here; name a checkout with --source"
        )
    members[f"{info}/RECORD"] = _record(members.items(), f"{info}/RECORD")
    target = folder / f"{OURS}-{installed.version}-py3-none-any.whl"
    write_bytes_atomically(target, _zipped(members))
    return target


def _record(members: Iterable[tuple[str, bytes]], own: str) -> bytes:
    lines = [
        f"{name},sha256={_digest(content, 'sha256')},{len(content)}"
        for name, content in sorted(members)
    ]
    return "".join(f"{line}\n" for line in (*lines, f"{own},,")).encode()


def _zipped(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in sorted(members.items()):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            packed.writestr(entry, content)
    return file.getvalue()


def _digest(content: bytes, kind: str) -> str:
    digest = hashlib.new(kind, content).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
