"""Bundles: what is refused, and why."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgehemo.bundle.bundle import SHIPPED_BUNDLE, load_bundle
from edgehemo.cells import open_cell_finder
from edgehemo.device.configuration import PathsSection, load_device
from edgehemo.device.equipment import open_bundle
from edgehemo.device.installed_bundles import BundleStore
from edgehemo.errors import BundleError
from tests.support.bundle_makers import sign_again, small_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the shipped bundle that a test may damage."""
    return Path(shutil.copytree(SHIPPED_BUNDLE, tmp_path / "bundle"))


def change(bundle: Path, **values: Any) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest.update(values)
    path.write_text(json.dumps(manifest))
    sign_again(bundle)


def test_the_shipped_bundle_is_whole_and_opens() -> None:
    bundle = load_bundle()
    bundle.check_files()
    artefact, path = bundle.artefact("cell_finder", "onnx")
    assert artefact.precision == "int8" and path.stat().st_size == artefact.bytes
    entry = bundle.model("cell_finder")
    assert entry.metrics and entry.training_data and entry.training_envelope
    assert entry.model_card and (bundle.path / entry.model_card).is_file()
    assert bundle.manifest.licence == "Apache-2.0"
    assert "not a diagnosis" in bundle.manifest.intended_use
    open_cell_finder(bundle, threads=1)


def test_a_runtime_without_an_artefact_is_named_and_a_precision_gives_way() -> None:
    bundle = load_bundle()
    with pytest.raises(BundleError, match="no tflite artefact"):
        open_cell_finder(bundle, threads=1, runtime="tflite")
    assert open_cell_finder(bundle, threads=1, precision="fp32").runner.name == "onnxruntime"


def test_a_tampered_artefact_is_refused(bundle: Path) -> None:
    path = bundle / load_bundle(bundle).model("cell_finder").artefacts[0].file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BundleError, match="digest differs"):
        load_bundle(bundle).check_files()
    with pytest.raises(BundleError, match="digest differs"):
        open_cell_finder(load_bundle(bundle), threads=1)


def test_a_missing_artefact_is_named(bundle: Path) -> None:
    name = load_bundle(bundle).model("cell_finder").artefacts[0].file
    (bundle / name).unlink()
    with pytest.raises(BundleError, match=f"{name} is missing"):
        load_bundle(bundle).check_files()


@pytest.mark.parametrize(
    "file", ["../outside.onnx", "/etc/passwd", "a/../../b.onnx", "..\\b", "", "."]
)
def test_paths_that_leave_the_bundle_are_refused(bundle: Path, file: str) -> None:
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text())
    next(m for m in manifest["models"] if m["artefacts"])["artefacts"][0]["file"] = file
    path.write_text(json.dumps(manifest))
    sign_again(bundle)
    with pytest.raises(BundleError, match="leaves the bundle"):
        load_bundle(bundle)


def test_a_link_that_leaves_the_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    name = load_bundle(bundle).model("cell_finder").artefacts[0].file
    outside = tmp_path / "outside.onnx"
    shutil.move(bundle / name, outside)
    (bundle / name).symlink_to(outside)
    with pytest.raises(BundleError, match="leaves the bundle"):
        load_bundle(bundle).check_files()


def test_unknown_schema_and_keys_are_refused(bundle: Path) -> None:
    change(bundle, schema="edgehemo.bundle/99")
    with pytest.raises(BundleError, match="unknown to this version"):
        load_bundle(bundle)
    change(bundle, schema="edgehemo.bundle/1", surprise=1)
    with pytest.raises(BundleError, match="surprise"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '"x"', "\x00\xff", '{"\\ud800": 1}', '{"a": NaN}', "[" * 100_000],
)
def test_a_manifest_that_is_none_is_one_line(bundle: Path, text: str) -> None:
    (bundle / "manifest.json").write_text(text)
    with pytest.raises(BundleError) as caught:
        load_bundle(bundle)
    assert "\n" not in str(caught.value)


def test_missing_folder_and_model() -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        load_bundle(Path("nowhere"))
    whole = load_bundle()
    kept = [model for model in whole.manifest.models if model.task != "morphology"]
    part = replace(whole, manifest=whole.manifest.model_copy(update={"models": kept}))
    with pytest.raises(BundleError, match="holds no model for morphology"):
        part.model("morphology")
    with pytest.raises(BundleError, match="no tflite artefact"):
        load_bundle().artefact("cell_finder", "tflite")


def test_the_packages_own_bundle_is_known_by_its_digest(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_bundle().trust == load_bundle(bundle).trust == "shipped"
    manifest = bundle / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    with pytest.raises(BundleError, match="is not signed"):
        load_bundle(bundle)
    assert load_bundle(bundle, trust="files-only").trust == "unsigned"
    monkeypatch.setattr("edgehemo.bundle.bundle.SHIPPED_BUNDLE", bundle)
    with pytest.raises(BundleError, match="was changed after it was made"):
        load_bundle()


def test_an_older_bundle_than_the_installed_one_is_not_screened_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = load_device(None).model_copy(
        update={"paths": PathsSection(data=str(tmp_path / "data"))}
    )
    assert open_bundle(None, device).trust == "shipped"
    store = BundleStore(device.data_dir)
    older = small_bundle(tmp_path / "older", 1)
    assert open_bundle(older, device).manifest.serial == 1
    store.install(small_bundle(tmp_path / "newer", 2))
    assert open_bundle(None, device).manifest.name == "small"
    with pytest.raises(BundleError, match="an older bundle is not used"):
        open_bundle(older, device)


@pytest.mark.parametrize(
    ("trunk", "head", "said"),
    [
        ({}, {"trunk": "nucleated", "artefacts": []}, "must list the heads"),
        ({"heads": ["morphology"]}, {}, "must list the heads"),
        (
            {"heads": ["morphology"]},
            {"trunk": "cell_finder", "artefacts": []},
            "must list the heads",
        ),
        ({"heads": ["morphology"]}, {"trunk": "nucleated"}, "neither artefacts nor heads"),
    ],
)
def test_a_head_and_its_trunk_name_each_other_and_have_one_graph(
    bundle: Path, trunk: dict[str, Any], head: dict[str, Any], said: str
) -> None:
    models = json.loads((bundle / "manifest.json").read_text())["models"]
    for entry in models:
        entry.update({"nucleated": trunk, "morphology": head}.get(entry["task"], {}))
    change(bundle, models=models)
    with pytest.raises(BundleError, match=said):
        load_bundle(bundle)
