"""The layer for rpi-image-gen, which is not here: its fields against what that tool's documentation
and sources say (version of November 2026), its commands run as they stand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgehemo_firmware import layout
from tests.support.bare_root import bare_root

FOLDER = Path(__file__).resolve().parents[2] / "firmware_config/rpi_image_gen"
LAYER, CONFIG = FOLDER / "layer/edgehemo-kiosk.yaml", FOLDER / "config/edgehemo-pi5.yaml"

# Fields of a layer; what it needs of others; attributes of a variable.
LAYER_FIELDS = {
    "Name", "Desc", "Version", "Category", "Requires", "Provides", "RequiresProvider",
    "AfterProvider", "Conflicts", "Type", "Generator", "Sets",
}  # fmt: skip
OTHER_FIELDS = {"VarPrefix", "VarRequires", "VarRequires-Valid", "VarOptional", "VarOptional-Valid"}
ATTRIBUTES = {"Desc", "Required", "Valid", "Set", "Anchor", "Conflicts", "Triggers"}
POLICIES = {"y", "n", "immediate", "lazy", "force", "skip"}
# Layers that come with it, and are needed here: each with why.
KNOWN_LAYERS = {
    "image-base": "that an image is made at all",
    "deploy-base": "makes IGconf_deploy_dir before anything else",
    "rpi-boot-firmware": "lays config.txt, which is written to after it",
    "rpi5": "the board",
    "image-rpios": "the partitions of Raspberry Pi OS",
    "trixie-minbase": "Raspberry Pi OS's packages",
}
# Variables that those layers declare.
KNOWN_VARIABLES = {"IGconf_deploy_dir"}
# Sections of a configuration that they read, and keys of ours in them.
KNOWN_SECTIONS = {
    "device": {"layer"},
    "image": {"layer", "name"},
    "deploy": {"compression"},
    "layer": None,
}
KINDS: Mapping[str, Callable[[str, str], bool]] = {
    "string": lambda rule, value: value != "",
    "int": lambda rule, value: in_range(rule, value),
    "regex": lambda rule, value: re.fullmatch(rule.partition(":")[2], value) is not None,
    "keywords": lambda rule, value: value in rule.partition(":")[2].split(","),
}


def in_range(rule: str, value: str) -> bool:
    least, _, most = rule.partition(":")[2].partition("-")
    return value.isdigit() and int(least or 0) <= int(value) <= int(most or value)


def metadata() -> dict[str, str]:
    """Field -> value, as its Deb822 reader has them: a field's further lines begin with a blank."""
    block = LAYER.read_text("utf-8").split("# METABEGIN\n")[1].split("# METAEND\n")[0]
    found: dict[str, str] = {}
    last = ""
    for row in block.splitlines():
        assert row.startswith("#"), row
        line = row.removeprefix("# ") if row.startswith("# ") else row.removeprefix("#")
        if not line.strip():
            continue
        if line[0] in " \t":
            assert last, f"{line!r} goes on with nothing"
            found[last] += "\n" + line.strip()
            continue
        name, colon, value = line.partition(":")
        assert colon and re.fullmatch(r"X-Env-[A-Za-z0-9_-]+", name), line
        assert name not in found, f"{name} stands there twice"
        found[name], last = value.strip(), name
    return found


def variables() -> dict[str, dict[str, str]]:
    """Variable -> its attributes, the default under the empty name."""
    found: dict[str, dict[str, str]] = {}
    for field, value in metadata().items():
        if field.startswith("X-Env-Var-"):
            name, _, attribute = field.removeprefix("X-Env-Var-").partition("-")
            found.setdefault(name, {})[attribute] = value
    return found


def body() -> dict[str, Any]:
    (part,) = yaml.safe_load_all(LAYER.read_text("utf-8"))
    loaded: dict[str, Any] = part
    return loaded


def test_each_field_is_one_of_a_layer() -> None:
    for field in metadata():
        name = field.removeprefix("X-Env-")
        if name.startswith("Layer-"):
            assert name.removeprefix("Layer-") in LAYER_FIELDS, field
        elif not name.startswith("Var-"):
            assert name in OTHER_FIELDS, field
    found = metadata()
    assert found["X-Env-Layer-Name"] == LAYER.stem
    assert re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", found["X-Env-Layer-Version"])
    assert set(found["X-Env-Layer-Requires"].split(",")) <= set(KNOWN_LAYERS)


def test_each_variable_is_whole_and_its_default_keeps_to_its_rule() -> None:
    assert re.fullmatch("[a-z]+", metadata()["X-Env-VarPrefix"])
    for name, attributes in variables().items():
        # It looks for the rule of a variable by the last word between underscores.
        assert re.fullmatch("[a-z]+", name), name
        assert {"", "Desc", "Required", "Valid", "Set"} <= set(attributes) <= ATTRIBUTES | {""}
        assert attributes["Required"] in ("y", "n") and attributes["Set"] in POLICIES
        rule = attributes["Valid"]
        assert KINDS[rule.partition(":")[0]](rule, attributes[""]), (name, rule)


def test_each_variable_that_is_used_is_declared() -> None:
    prefix = metadata()["X-Env-VarPrefix"]
    declared = {f"IGconf_{prefix}_{name}" for name in variables()} | KNOWN_VARIABLES
    used = set(re.findall(r"IGconf_\w+", yaml.safe_dump(body())))
    assert used == declared
    assert set(metadata()["X-Env-VarRequires"].split(",")) <= KNOWN_VARIABLES
    rules = metadata()["X-Env-VarRequires-Valid"].split(",")
    assert len(rules) == len(metadata()["X-Env-VarRequires"].split(","))


def test_its_body_is_what_the_bootstrapper_takes() -> None:
    assert set(body()) == {"mmdebstrap"}
    assert set(body()["mmdebstrap"]) == {"packages", "customize-hooks"}
    assert all(re.fullmatch("[a-z0-9.+-]+", name) for name in body()["mmdebstrap"]["packages"])


def test_the_configuration_names_what_there_is() -> None:
    given = yaml.safe_load(CONFIG.read_text("utf-8"))
    prefix = metadata()["X-Env-VarPrefix"]
    known = {**KNOWN_SECTIONS, prefix: set(variables())}
    for section, values in given.items():
        keys = known[section]
        assert keys is None or set(values) <= keys, section
    named = {given["device"]["layer"], given["image"]["layer"], *given["layer"].values()}
    assert named == {"rpi5", "image-rpios", "trixie-minbase", LAYER.stem}
    for name, value in given[prefix].items():
        rule = variables()[name]["Valid"]
        assert KINDS[rule.partition(":")[0]](rule, str(value)), (name, value)


def test_its_commands_run_as_they_stand(tmp_path: Path) -> None:
    """The installation is looked at and not done, for that takes a whole root; all else is done."""
    if shutil.which("mke2fs") is None:
        pytest.skip("needs e2fsprogs")
    root, deploy, asked = tmp_path / "ro ot", tmp_path / "deploy", tmp_path / "asked"
    bare_root(root, config_txt="[all]\n")
    (root / "data/edgehemo").mkdir(parents=True)
    (root / "data/edgehemo/kept.txt").write_text("kept\n")
    deploy.mkdir()
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\necho "$*" >> {asked}\n'
        '[ "$3 $4" = "device install" ] && set -- "$@" --dry-run\n'
        f'exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    given = {"parts": variables()["parts"][""], "python": str(python), "datasize": "2048"}
    environment = {
        "PATH": os.environ["PATH"],
        **{f"IGconf_edgehemo_{name}": value for name, value in given.items()},
        "IGconf_deploy_dir": str(deploy),
    }
    said = ""
    for hook in body()["mmdebstrap"]["customize-hooks"]:
        # As the bootstrapper calls it, with the root as its argument.
        done = subprocess.run(
            ["sh", "-c", hook, "sh", str(root)],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said += done.stdout
    first, second = asked.read_text().splitlines()
    assert first.startswith("-m edgehemo device install raspberry_pi_5 hq_camera ")
    assert "dtoverlay=imx477" in said and "overlayroot" in said
    assert second.startswith("-m edgehemo_firmware.image.card data ")
    file = deploy / "edgehemo-data.ext4"
    assert file.stat().st_size == 2048 << 20
    with file.open("rb") as content:
        content.seek(1024 + 0x78)
        assert content.read(16).rstrip(b"\0").decode() == layout.DATA_LABEL
    told = subprocess.run(
        ["debugfs", "-R", "cat /edgehemo/kept.txt", str(file)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert told.stdout == "kept\n"
    assert list((root / "data").iterdir()) == []
