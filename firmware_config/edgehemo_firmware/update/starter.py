"""Begins a first installation from these media, with the system's Python and nothing else.

    sudo python3 install.py --trust KEY.pub [options of `edgehemo device install`]

KEY.pub is the public key of whoever made the media, had from them on another way than this stick.
What is needed to check the signature is unpacked into a scratch folder, each file held against the
manifest; from there `edgehemo device install` checks everything, and only then installs.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# The packages that checking and installing import.
NEEDED = ("edgehemo", "cffi", "click", "jinja2", "markupsafe", "msgspec", "numpy", "packaging",
          "platformdirs", "pycparser", "pynacl")  # fmt: skip
BAD_INPUT = 2


def unpack(media: Path, scratch: Path) -> None:
    """Unpack the needed wheels; SystemExit where one is missing or damaged."""
    manifest = json.loads((media / "manifest.json").read_text(encoding="utf-8"))
    left = set(NEEDED)
    for entry in manifest["files"]:
        path = str(entry["path"])
        name = re.sub(r"[-_.]+", "-", path.rpartition("/")[2].partition("-")[0]).lower()
        if entry["role"] != "wheel" or name not in left:
            continue
        left.remove(name)
        wheel = media / path
        if ".." in Path(path).parts or wheel.is_symlink():
            stop(f"{path}: leads out of the media")
        content = wheel.read_bytes()
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            stop(f"{path}: is not as it was signed; copy the media again, or use another stick")
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(scratch)
    if left:
        stop(f"{media}: holds no {', '.join(sorted(left))}; copy the media again")


def stop(message: str) -> None:
    """End with one line."""
    sys.stderr.write(f"edgehemo: {message}\n")
    sys.exit(BAD_INPUT)


def main() -> int:
    """Unpack, and hand over to the version on the media."""
    media = Path(__file__).resolve().parent
    with tempfile.TemporaryDirectory(prefix="edgehemo-") as scratch:
        try:
            unpack(media, Path(scratch))
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            stop(f"{media}: cannot be read ({error}); copy the media again")
        command = [sys.executable, "-P", "-m", "edgehemo", "device", "install"]
        environment = {**os.environ, "PYTHONPATH": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            [*command, "--media", str(media), *sys.argv[1:]], env=environment
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
