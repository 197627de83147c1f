"""The Debian package before Debian's own judge of packages."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from edgehemo_firmware.update.debian_package import build_deb
from tests.lab.debian import need_tools
from tests.support.media import media_of, signing_key

pytestmark = pytest.mark.lab


def test_lintian_has_nothing_to_say(tmp_path: Path) -> None:
    need_tools(lintian="lintian")
    media = media_of(tmp_path, "1.0rc1")
    maintainer = "A Laboratory <laboratory@example.org>"
    package = build_deb(media, signing_key().public, tmp_path / "out", maintainer)
    done = subprocess.run(
        ["lintian", "--fail-on", "error,warning,info", "--display-info", "--allow-root",
         str(package)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
