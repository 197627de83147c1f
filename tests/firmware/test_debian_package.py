"""The Debian package: media as on a stick, and scripts that install them or update."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgehemo_firmware.dependencies.targets import target_of
from edgehemo_firmware.update.debian_package import (
    build_deb,
    control,
    debian_version,
    maintainer_of,
)
from edgehemo_firmware.update.media import opened_media
from tests.support.media import TARGET, media_of, signing_key

MAINTAINER = "A Laboratory <laboratory@example.org>"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb, which Debian has, is not on this machine")
    media = media_of(tmp_path, "1.0rc1")
    return build_deb(media, signing_key().public, tmp_path / "out", MAINTAINER)


def field(package: Path, name: str) -> str:
    done = subprocess.run(
        ["dpkg-deb", "--field", str(package), name], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_it_is_called_and_described_as_debian_wants(package: Path) -> None:
    machine, python = TARGET.split("-")
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}[machine]
    assert package.name == f"edgehemo_1.0~rc1_{architecture}.deb"
    assert field(package, "Architecture") == architecture
    assert field(package, "Maintainer") == MAINTAINER
    assert field(package, "Depends").startswith(f"python3 (>= {python}), python3 (<< 3.")
    assert "nftables" in field(package, "Depends") and "cage" in field(package, "Recommends")
    assert int(field(package, "Installed-Size")) > 0


def test_what_it_unpacks_are_whole_media_and_the_key_of_who_signed_them(
    package: Path, tmp_path: Path
) -> None:
    tmp_path = tmp_path / "unpacked"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(tmp_path)], check=True)
    media = opened_media(tmp_path / "usr/lib/edgehemo/media", TARGET)
    assert media.manifest.version == "1.0rc1"
    key = signing_key().public
    assert (tmp_path / f"usr/lib/edgehemo/keys/{key.identifier}.pub").read_text() == key.line
    listed = (tmp_path / "DEBIAN/md5sums").read_text()
    check = subprocess.run(
        ["md5sum", "--check", "--quiet", "-"], input=listed, text=True, cwd=tmp_path
    )
    assert check.returncode == 0 and "etc/" not in listed
    modes = {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {"0o644", "0o755"}
    for script in ("postinst", "prerm"):
        subprocess.run(["sh", "-n", str(tmp_path / "DEBIAN" / script)], check=True)


def test_everything_in_it_is_roots(package: Path) -> None:
    listed = subprocess.run(
        ["dpkg-deb", "--contents", str(package)], capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[1] for line in listed.splitlines()} == {"root/root"}


@pytest.mark.parametrize(
    ("version", "debian"),
    [("0.1.0", "0.1.0"), ("0.2.0rc1", "0.2.0~rc1"), ("1.0a2", "1.0~a2"), ("1.0.dev3", "1.0~dev3"),
     ("1.0b10", "1.0~b10")],
)  # fmt: skip
def test_what_comes_before_a_release_sorts_before_it(version: str, debian: str) -> None:
    assert debian_version(version) == debian


def test_the_python_of_the_wheels_is_the_one_it_asks_for(tmp_path: Path) -> None:
    manifest = opened_media(media_of(tmp_path, "1.0"), TARGET).manifest
    text = control(manifest, target_of("aarch64-3.11"), 1, MAINTAINER)
    assert "Depends: python3 (>= 3.11), python3 (<< 3.12~), " in text
    assert "Architecture: arm64\n" in text


def test_who_made_it_is_named_by_debians_variables() -> None:
    assert maintainer_of({"DEBFULLNAME": "N", "DEBEMAIL": "n@e.org"}) == "N <n@e.org>"
    assert maintainer_of({}) == "whoever built this package <root@localhost>"
