"""The device talks to nobody: every command where each packet and each file left behind is seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.capture.simulated import SimulatedMicroscope, SimulatedOptions
from edgehemo.cli import CommandGroup
from edgehemo.report.pictures import png

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = Path(__file__).parent / "parts"
SINK = PARTS / "network_sink.py"
FIELDS = 24
# How long after its first inference ONNX Runtime, where it is let, has called its maker.
CALLED_AFTER_S = 20
# Below the home folder: where the records, keys and settings of whoever works here belong.
OURS = (".local/share/edgehemo", ".config/edgehemo")
# On the workstation also what its libraries compiled, and the fonts that were found.
WORKSTATIONS = (".cache/edgehemo/openvino", ".cache/matplotlib/fontlist-")

# Shell scripts: `e` runs edgehemo and goes on where it withheld; $PICTURES holds fields of a slide,
# $OUT is a folder for what is asked for, $HOME is fresh and $PWD must stay empty.
PROLOGUE = """set -eu
e() { edgehemo "$@" || [ $? = 1 ] || { echo "failed: $*" >&2; exit 9; }; }
newest() { edgehemo records list --json - | python -c \\
  'import json, sys; print(json.load(sys.stdin)["results"][0]["id"])'; }
"""
DEVICE_SCRIPTS = {
    "a long screening": """
e screen "$PICTURES" --out "$OUT/screened"
""",
    "pictures": """
e quality "$PICTURES/00.png" "$PICTURES/01.png"
e cells "$PICTURES/00.png"
e classify "$PICTURES/00.png" --model morphology
e estimate "$PICTURES/00.png" "$PICTURES/01.png"
""",
    "machine": """
e doctor
e bench --runs 2 --no-write
e verify "$BUNDLE"
""",
    "bundles and keys": """
e keys new --out "$OUT/keys"
e keys list
e keys trust "$OUT"/keys/*.pub
e keys remove "$(basename "$OUT"/keys/*.pub .pub)"
e bundle list
e bundle pack "$BUNDLE" "$OUT/packed.zip"
e bundle install "$OUT/packed.zip"
""",
    "results": """
mkdir -p "$HOME/.config/edgehemo"
cat >"$HOME/.config/edgehemo/device.toml" <<END
schema = "edgehemo.device/1"
name = "quiet"
board = "workstation"
[records]
keep_pictures_days = 30
END
e demo --out "$OUT/demo"
e screen "$PICTURES/00.png" "$PICTURES/01.png" --out "$OUT/recorded" --record --sample 26-0417
id=$(newest)
e records list
e records show "$id"
e records sign "$id" --by Grace
e records hold "$id" --by Grace --reason 'the control slide failed'
e records release "$id" --by Grace --reason 'the lamp was changed'
e records correct "$id" --by Grace --reason 'misread' --sample 26-0418
e records replay "$id"
for format in pdf html folder csv json geojson coco fhir hl7; do
  e records export "$id" --format $format --out "$OUT/$format.out"
done
key=$(python -c 'import pyrage; print(pyrage.x25519.Identity.generate().to_public())')
e records export "$id" --format archive --to "$key" --out "$OUT/archive.out"
e records withdraw "$id" --by Grace --reason 'the wrong slide'
e records verify
mkdir "$OUT/backup"
e records backup "$OUT/backup"
e records purge --dry-run
e records trust-clock --by Grace --reason 'the battery was empty'
e records restore "$(find "$OUT/backup" -type f | head -n 1)" --force
e monitor report
e monitor note 'new lot' --kind 'stain lot' --by Grace
e monitor baseline --usual --by Grace
e outbox list
printf '2580\\n' >"$OUT/pin"
e users add Grace --role supervisor --pin-file "$OUT/pin"
e users add Joy --role supervisor --pin-file "$OUT/pin"
e users reset Grace --pin-file "$OUT/pin"
e users list
e users remove Grace
""",
    "calibration": """
p="$OUT/profile.json"
e calibrate scale --um-per-px 0.2 --uncertainty 0.01 --out "$p"
e calibrate illumination "simulated:?slide=empty" --camera simulated --out "$p"
e calibrate stain "$PICTURES"/0*.png --out "$p"
e calibrate show --profile "$p"
""",
    "device": """
e profile list
e profile show raspberry_pi_5 hq_camera touch_7_800x480
e device status
e device show
e device remind
e device clock
e device acceptance --list
""",
    "kiosk": """
export PYTHONPATH="$REPOSITORY"
python "$REPOSITORY/tests/lab/parts/sample_at_kiosk.py" "$OUT/kiosk"
""",
}
# What no script above runs, and why that hides nothing.
NOT_RUN = {
    "archive compare": "reads its own archive",
    "archive dataset": "likewise",
    "archive ingest": "the laboratory's: writes its own archive, which may be S3 where it is named",
    "archive reread": "speaks to its own workers, or to the scheduler that is named",
    "archive status": "likewise",
    "bundle rollback": "as `bundle install`",
    "calibrate analyser": "as `estimate`",
    "calibrate check": "as `estimate`",
    "calibrate clear": "as `calibrate show`",
    "calibrate control": "as `estimate`",
    "calibrate focus": "as `quality`",
    "calibrate repeatability": "as `estimate`",
    "calibrate types draw": "as `cells`",
    "calibrate types check": "as `calibrate show`",
    "device confirm": "as `device status`, and a screening as `screen` where a version is on trial",
    "device media": "collects what the lock names from the package index, which is its work",
    "device rollback": "moves a link",
    "device update": "takes all from a stick; proved in a root without a network",
    "device install": "fetches what the lock names from the package index, which is its work",
    "device uninstall": "removes files",
    "kiosk": "started by a script of its own",
    "laboratory advance": "the laboratory's: writes its own storage",
    "laboratory allow": "likewise",
    "laboratory certificate": "likewise",
    "laboratory dashboards": "writes two files of the package",
    "laboratory demo": "speaks to its own server on this machine; as the others of the laboratory",
    "laboratory enrol": "likewise",
    "laboratory export": "likewise",
    "laboratory halt": "likewise",
    "laboratory kiosks": "likewise",
    "laboratory people add": "likewise",
    "laboratory people list": "likewise",
    "laboratory people remove": "likewise",
    "laboratory people reset": "likewise",
    "laboratory pictures": "likewise",
    "laboratory publications": "likewise",
    "laboratory publish bundle": "likewise",
    "laboratory publish language": "likewise",
    "laboratory publish settings": "likewise",
    "laboratory resume": "likewise",
    "laboratory revoke": "likewise",
    "laboratory rollback": "likewise",
    "laboratory serve": "listens, which is its work",
    "laboratory stick": "as `laboratory kiosks`",
    "laboratory take": "as `laboratory kiosks`",
    "laboratory verify": "as `laboratory kiosks`",
    "outbox enrol": "reaches for the laboratory that is named, which is its work",
    "outbox retry": "reaches for the receivers that were named, and is refused without any",
    "outbox send": "likewise",
    "outbox show": "as `outbox list`",
    "data check": "as `dataset manifest`, on which it stands",
    "data get": "fetches what it is told to, from whom its registry or a mirror names",
    "data list": "shows a table of the package",
    "dataset draw": "draws fields as `demo`",
    "dataset manifest": "the workstation's: its imports and an export are seen below",
    "config show": "likewise",
    "evaluate": "likewise",
    "export": "likewise",
    "study": "likewise",
    "train": "likewise",
}

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module", autouse=True)
def _namespace() -> None:
    for program in ("unshare", "ip", "mount"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no network namespace may be made here (it needs root)")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fields of one simulated slide, as files."""
    folder = tmp_path_factory.mktemp("pictures")
    with SimulatedMicroscope(
        SimulatedOptions(seed=5, fields=FIELDS, width_px=640, height_px=480)
    ) as slide:
        for index in range(FIELDS):
            slide.move_to_field(index)
            (folder / f"{index:02d}.png").write_bytes(png(slide.frame(10.0).pixels))
    return folder


def in_a_sink(folder: Path, *command: str, **variables: str) -> dict[str, Any]:
    """Run a command with a fresh home; what it tried to reach, and the files it left.

    Left out of these: what is ours below the home folder, and what is asked for in ``$OUT``.
    """
    home, here, temporary, out = (folder / name for name in ("home", "here", "tmp", "out"))
    for made in (home, here, temporary, out):
        made.mkdir()
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "OUT": str(out),
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    done = subprocess.run(
        ["unshare", "--net", "--mount", sys.executable, "-P", str(SINK), *command],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    ours = tuple(str(home / own) for own in OURS)
    told["left"] = [
        str(path.relative_to(folder))
        for made in (home, here, temporary)
        for path in made.rglob("*")
        if not path.is_dir() and not str(path).startswith(ours)
    ]
    return told


def test_the_sink_sees_what_reaches_out(tmp_path: Path) -> None:
    """By name, by address of either protocol, and without a connection."""
    code = (
        "import socket\n"
        "for where in ('maker.example', '198.51.100.7', '2001:db8::7'):\n"
        "    try: socket.create_connection((where, 443), timeout=2)\n"
        "    except OSError: pass\n"
        "datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "datagrams.sendto(b'here', ('224.0.0.251', 5353))\n"
        "datagrams.sendto(b'here', ('127.0.0.1', 9))\n"
    )
    told = in_a_sink(tmp_path, sys.executable, "-c", code)
    seen = {"maker.example", "192.0.2.1:443 tcp", "198.51.100.7:443 tcp", "224.0.0.251:5353 udp"}
    # A kernel may have no IPv6.
    assert set(told["reached"]) - {"[2001:db8::7]:443 tcp", "2001:db8::7:443 tcp"} == seen


def test_a_runtime_that_is_let_calls_its_maker(tmp_path: Path) -> None:
    """What the tests below would see, were its switch not set before it is imported."""
    artefact = next(SHIPPED_BUNDLE.rglob("*.onnx"))
    code = (
        "import time, onnxruntime\n"
        f"session = onnxruntime.InferenceSession({str(artefact)!r})\n"
        f"time.sleep({CALLED_AFTER_S})\n"
    )
    told = in_a_sink(tmp_path, sys.executable, "-c", code)
    if not told["reached"] and not told["left"]:
        pytest.skip("this version of ONNX Runtime has nothing to switch off")
    assert any("microsoft" in where for where in (*told["reached"], *map(str.lower, told["left"])))


@pytest.mark.parametrize("name", DEVICE_SCRIPTS)
def test_a_command_reaches_for_nobody_and_leaves_nothing(
    name: str, tmp_path: Path, pictures: Path
) -> None:
    told = in_a_sink(
        tmp_path,
        "sh",
        "-c",
        PROLOGUE + DEVICE_SCRIPTS[name],
        PICTURES=str(pictures),
        BUNDLE=str(SHIPPED_BUNDLE),
        REPOSITORY=str(REPOSITORY),
    )
    assert told["rc"] == 0, told["stderr"]
    assert (told["reached"], told["left"]) == ([], [])


def test_every_command_is_seen() -> None:
    scripts = "\n".join(DEVICE_SCRIPTS.values())
    run = {line[2:] for line in scripts.replace("\n  e ", "\ne ").splitlines() if line[:2] == "e "}
    missing = {
        command
        for command in leaves(CommandGroup())
        if not any(f"{each} ".startswith(f"{command} ") for each in run)
    }
    assert missing == set(NOT_RUN)


def leaves(group: click.Group, before: str = "") -> list[str]:
    """Every command below a group by its whole name."""
    context = click.Context(group)
    found: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            found += leaves(command, f"{before}{name} ")
        else:
            found.append(before + name)
    return found


HOST_SCRIPTS = {
    "every module of the export": (
        "import importlib, pkgutil, edgehemo_export\n"
        "for found in pkgutil.walk_packages(edgehemo_export.__path__, 'edgehemo_export.'):\n"
        "    if not found.name.endswith('__main__'): importlib.import_module(found.name)\n"
    ),
    "openvino, nncf": "import edgehemo_export, openvino, nncf",
    "an export": (
        "from tests.support.small_export import export_small\n"
        "import os, pathlib\n"
        "export_small(pathlib.Path(os.environ['OUT']), ('onnx', 'openvino', 'tflite'))\n"
    ),
}


@pytest.mark.host
@pytest.mark.parametrize("name", HOST_SCRIPTS)
def test_nor_does_the_export(name: str, tmp_path: Path) -> None:
    """Its libraries imported as it does it, directly; and one model through all three formats."""
    for module in ("torch", "onnxruntime", "openvino", "nncf", "litert_torch"):
        pytest.importorskip(module)
    told = in_a_sink(tmp_path, sys.executable, "-c", HOST_SCRIPTS[name], PYTHONPATH=str(REPOSITORY))
    assert told["rc"] == 0, told["stderr"]
    left = [
        file for file in told["left"] if not file.removeprefix("home/").startswith(WORKSTATIONS)
    ]
    assert (told["reached"], left) == ([], [])
