"""Installing bundles: only whole, signed, newer ones; the last good one stays."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edgehemo.bundle.bundle import (
    MANIFEST_NAME,
    SHIPPED_BUNDLE,
    SIGNATURE_NAME,
    Bundle,
    load_bundle,
)
from edgehemo.bundle.manifest import Artefact
from edgehemo.bundle.packing import unpack
from edgehemo.bundle.signatures import new_key, read_private_key
from edgehemo.commands.bundle import bundle as bundle_command
from edgehemo.device import installed_bundles as bundle_store
from edgehemo.device.installed_bundles import BundleStore, check_whole, open_in_use, pack
from edgehemo.errors import BundleError
from edgehemo.inference import open_model
from tests.support.bundle_makers import sign_again, signing_key, small_bundle


@pytest.fixture
def store(tmp_path: Path) -> BundleStore:
    return BundleStore(tmp_path / "data")


def test_nothing_installed_is_no_error(store: BundleStore, tmp_path: Path) -> None:
    assert store.current() is None and store.installed() == []
    assert open_in_use(tmp_path / "data").trust == "shipped"
    with pytest.raises(BundleError, match="no bundle to go back to"):
        store.rollback()


def test_install_keeps_the_one_before_and_no_more(store: BundleStore, tmp_path: Path) -> None:
    for serial in (1, 2, 3):
        found = store.install(small_bundle(tmp_path / f"b{serial}", serial))
        assert found.manifest.serial == serial and found.trust == "signed"
    current, before = store.installed()
    assert current.current and current.bundle and current.bundle.manifest.serial == 3
    assert before.previous and before.bundle and before.bundle.manifest.serial == 2
    assert open_in_use(tmp_path / "data").path == store.current()


def test_an_older_serial_is_refused_and_rollback_is_on_purpose(
    store: BundleStore, tmp_path: Path
) -> None:
    one, two = (small_bundle(tmp_path / f"b{serial}", serial) for serial in (1, 2))
    store.install(one)
    store.install(two)
    with pytest.raises(BundleError, match="serial 2 was installed here"):
        store.install(one)
    with pytest.raises(BundleError, match="an older bundle is not used"):
        store.refuse_older(load_bundle(one))
    back = store.rollback()
    assert back.manifest.serial == 1
    store.refuse_older(back)  # the one gone back to is used
    with pytest.raises(BundleError, match="an older bundle is not used"):
        store.refuse_older(load_bundle(one))  # its copy elsewhere is not
    assert store.install(two).manifest.serial == 2
    assert not store.state().rolled_back


def test_the_same_bundle_twice_changes_nothing(store: BundleStore, tmp_path: Path) -> None:
    source = small_bundle(tmp_path / "b", 4)
    store.install(source)
    state = store.state()
    store.install(source)
    assert store.state() == state


@pytest.mark.parametrize("file", ["note.txt", MANIFEST_NAME, SIGNATURE_NAME, "stranger.bin"])
def test_each_kind_of_tampering_leaves_the_good_one_in_use(
    store: BundleStore, tmp_path: Path, file: str
) -> None:
    store.install(small_bundle(tmp_path / "good", 1))
    bad = small_bundle(tmp_path / "bad", 2)
    target = bad / file
    data = bytearray(target.read_bytes()) if target.exists() else bytearray(b"x")
    data[len(data) // 2] ^= 1
    target.write_bytes(bytes(data))
    before = store.state()
    with pytest.raises(BundleError):
        store.install(bad)
    assert store.state() == before
    assert load_bundle(store.current()).manifest.serial == 1
    assert [path.name for path in store.path.glob(".*") if path.is_dir()] == []


def test_unsigned_and_wrongly_signed_are_refused(
    store: BundleStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bare = small_bundle(tmp_path / "bare", 1)
    (bare / SIGNATURE_NAME).unlink()
    with pytest.raises(BundleError, match="is not signed"):
        store.install(bare)
    other = small_bundle(tmp_path / "other", 2)
    shutil.copy(other / SIGNATURE_NAME, bare / SIGNATURE_NAME)
    with pytest.raises(BundleError, match="does not fit the manifest"):
        store.install(bare)
    (bare / SIGNATURE_NAME).unlink()
    monkeypatch.setenv("EDGEHEMO_ALLOW_UNSIGNED", "1")
    assert load_bundle(bare).trust == "unsigned"
    assert "never for patients" in caplog.text


def test_an_interrupted_installation_leaves_the_old_one(
    store: BundleStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.install(small_bundle(tmp_path / "b1", 1))

    def pulled(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("_flush", "_copy_folder", "write_text_atomically"):
        with monkeypatch.context() as patch:
            patch.setattr(bundle_store, step, pulled)
            with pytest.raises(OSError, match="No space"):
                store.install(small_bundle(tmp_path / f"b2-{step}", 2))
        assert load_bundle(store.current()).manifest.serial == 1
    assert store.install(small_bundle(tmp_path / "b3", 2)).manifest.serial == 2
    assert len([path for path in store.path.iterdir() if path.is_dir()]) == 2


def test_a_packed_bundle_installs_and_packs_the_same_again(
    store: BundleStore, tmp_path: Path
) -> None:
    source = small_bundle(tmp_path / "b", 1)
    pack(source, tmp_path / "one.zip")
    pack(source, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    found = store.install(tmp_path / "one.zip")
    assert found.digest == load_bundle(source).digest
    check_whole(found)


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "..\\out.txt"])
def test_a_packed_path_that_leaves_the_bundle_is_refused(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr(name, "x")
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(BundleError, match="leaves the bundle"):
        unpack(tmp_path / "x.zip", folder)
    assert not (tmp_path / "out.txt").exists() and not list(folder.iterdir())


def test_what_is_no_bundle_is_one_line(store: BundleStore, tmp_path: Path) -> None:
    text = tmp_path / "x.zip"
    text.write_text("no archive")
    for source in (text, tmp_path / "nothing", tmp_path):
        with pytest.raises(BundleError) as caught:
            store.install(source)
        assert "\n" not in str(caught.value)
    (store.path / "state.json").write_text("{")
    with pytest.raises(BundleError, match="is damaged"):
        store.state()


def test_the_state_file_of_a_device_in_service_is_read(store: BundleStore) -> None:
    # As a device wrote it: the schema's name may not change with the modules.
    store.path.mkdir(parents=True, exist_ok=True)
    (store.path / "state.json").write_text(
        '{"schema": "edgehemo.bundle-store/1", "current": "edgehemo-3-0123456789ab", '
        '"previous": null, "highest_serial": {"edgehemo": 3}, "rolled_back": false}'
    )
    assert store.state().highest_serial == {"edgehemo": 3}
    for damaged in ('{"schema": "edgehemo.bundle-store/2"}', '{"more": 1}', '{"current": 3}', "[]"):
        (store.path / "state.json").write_text(damaged)
        with pytest.raises(BundleError, match="is damaged"):
            store.state()


def test_a_link_in_a_bundle_is_refused(store: BundleStore, tmp_path: Path) -> None:
    source = small_bundle(tmp_path / "b", 1)
    (source / "link").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="is a link"):
        store.install(source)


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = tmp_path / "device.toml"
    device.write_text(
        'schema = "edgehemo.device/1"\nname = "test"\nboard = "workstation"\n'
        f'[paths]\ndata = "{tmp_path / "data"}"\n'
    )
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device))

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(bundle_command, list(arguments), standalone_mode=False)
        assert done.exception is None, done.output
        return done.output

    assert "shipped" in run("list")
    run("install", str(small_bundle(tmp_path / "b1", 1)))
    run("install", str(small_bundle(tmp_path / "b2", 2)))
    listed = json.loads(run("list", "--json", "-"))
    assert [item["role"] for item in listed["bundles"]] == ["in use", "before"]
    assert listed["bundles"][0]["signed_by"].startswith("laboratory")
    assert "serial 1" in run("rollback")
    run("pack", str(tmp_path / "b2"), str(tmp_path / "b2.zip"))
    assert "serial 2" in run("install", str(tmp_path / "b2.zip"))


def test_a_foreign_key_beside_ours_changes_nothing(tmp_path: Path) -> None:
    ours = small_bundle(tmp_path / "ours")
    new_key(tmp_path / "foreign", "foreign")
    theirs = small_bundle(
        tmp_path / "theirs", key=read_private_key(tmp_path / "foreign" / "foreign.key")
    )
    assert load_bundle(ours).signed_by == f"laboratory ({signing_key().public.identifier})"
    with pytest.raises(BundleError, match="does not trust"):
        load_bundle(theirs)


def test_one_file_is_opened_like_its_folder(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path / "source", serial=4)
    packed = tmp_path / "bundle.zip"
    pack(folder, packed)
    opened = load_bundle(packed)
    assert opened.digest == load_bundle(folder).digest and opened.trust == "signed"
    opened.check_files()
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(BundleError, match=r"bundle\.zip: is not a bundle"):
        load_bundle(packed)


def test_more_than_a_bundle_may_hold_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(small_bundle(tmp_path / "source"), tmp_path / "bundle.zip")
    monkeypatch.setattr("edgehemo.bundle.packing.MAX_UNPACKED_BYTES", 100)
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError, match="too large unpacked"):
        unpack(tmp_path / "bundle.zip", tmp_path / "out")


def test_a_bundle_whose_model_does_not_open_here_is_not_installed(
    store: BundleStore, tmp_path: Path
) -> None:
    """Signed and whole, and still of no use: the one in use stays."""
    store.install(small_bundle(tmp_path / "good"))
    before = store.current()
    bad = shutil.copytree(SHIPPED_BUNDLE, tmp_path / "bad")
    manifest = json.loads((bad / MANIFEST_NAME).read_bytes())
    entry = next(m for m in manifest["models"] if m["task"] == "cell_finder")
    entry["input"] |= {"height_px": 64, "width_px": 64}
    manifest |= {"models": [entry], "files": {}, "name": "small", "serial": 9}
    entry["samples"] = entry["model_card"] = None
    (bad / MANIFEST_NAME).write_text(json.dumps(manifest))
    kept = {MANIFEST_NAME, entry["artefacts"][0]["file"]}
    for path in bad.iterdir():
        if path.name not in kept:
            path.unlink()
    sign_again(bad)
    with pytest.raises(BundleError, match=r"bad: cell_finder.*the manifest says uint8"):
        store.install(bad)
    assert store.current() == before


def manifest_with(folder: Path, **changes: object) -> Path:
    """A bundle whose signed manifest says something else."""
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))
    sign_again(folder)
    return folder


@pytest.mark.parametrize(
    "name", ["../../out", "/etc/out", "a/b", "..", ".hidden", "a\0b", "a\nb", "", "n" * 65, "a\x1b"]
)
def test_a_signed_name_does_not_lead_out_of_the_store(
    store: BundleStore, tmp_path: Path, name: str
) -> None:
    bad = manifest_with(small_bundle(tmp_path / "bad"), name=name)
    with pytest.raises(BundleError, match=r"name") as caught:
        store.install(bad)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if "out" in path.name]


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "../b", "a\\b"])
def test_a_signed_path_that_no_file_has(tmp_path: Path, name: str) -> None:
    bad = manifest_with(small_bundle(tmp_path / "bad"), files={name: "ab" * 32})
    with pytest.raises(BundleError, match="leaves the bundle"):
        load_bundle(bad)


def test_a_serial_far_off_does_not_lock_out_those_that_follow(
    store: BundleStore, tmp_path: Path
) -> None:
    store.install(small_bundle(tmp_path / "b1", 1))
    for serial in (10**30, 2**31, 2**31 - 1, 1 + bundle_store.MAX_SERIAL_STEP + 1):
        far = manifest_with(small_bundle(tmp_path / f"far{serial}"), serial=serial)
        with pytest.raises(BundleError, match="serial"):
            store.install(far)
    assert store.install(small_bundle(tmp_path / "date", 20261127)).manifest.serial == 20261127
    # A device that an earlier version let be locked out is free again.
    state = json.loads((store.path / "state.json").read_text())
    for file in ("state.json", "state.copy.json"):
        (store.path / file).write_text(json.dumps({**state, "highest_serial": {"small": 10**30}}))
    assert store.install(small_bundle(tmp_path / "next", 20261128)).manifest.serial == 20261128


def test_a_bundle_that_cannot_screen_is_not_put_into_use(
    store: BundleStore, tmp_path: Path
) -> None:
    empty = small_bundle(tmp_path / "empty")
    for path in empty.glob("*.onnx"):
        path.unlink()
    manifest_with(empty, models=[])
    with pytest.raises(BundleError, match="holds no cell_finder"):
        store.install(empty)
    assert store.current() is None


@pytest.mark.parametrize("lost", ["state.json", "both"])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_losing_the_state_lets_no_older_bundle_in(
    store: BundleStore, tmp_path: Path, lost: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    older = small_bundle(tmp_path / "b1", 1)
    for serial in (2, 3):
        store.install(small_bundle(tmp_path / f"b{serial}", serial))
    for name in ("state.json", "state.copy.json")[: 1 if lost == "state.json" else 2]:
        (store.path / name).unlink() if how == "missing" else (store.path / name).write_text("{")
    again = BundleStore(tmp_path / "data")
    with pytest.raises(BundleError, match="serial 3 was installed here"):
        again.install(older)
    assert open_in_use(tmp_path / "data").manifest.serial == 3
    assert "state.json: is" in caplog.text
    assert again.install(small_bundle(tmp_path / "b4", 4)).manifest.serial == 4
    caplog.clear()
    assert open_in_use(tmp_path / "data").manifest.serial == 4 and not caplog.text


def test_a_damaged_bundle_in_use_is_told_and_the_one_before_serves(
    store: BundleStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for serial in (1, 2):
        store.install(small_bundle(tmp_path / f"b{serial}", serial))
    current, before = (item.folder for item in store.installed())
    (store.path / current / "note.txt").write_text("changed")
    assert open_in_use(tmp_path / "data").manifest.serial == 1
    assert "Serial 1 is used instead" in caplog.text
    shutil.rmtree(store.path / before)
    assert open_in_use(tmp_path / "data").trust == "shipped"
    shutil.rmtree(store.path / current)
    caplog.clear()
    assert open_in_use(tmp_path / "data").trust == "shipped"
    assert "is used instead" in caplog.text


@pytest.mark.parametrize("leads", ["../../elsewhere", "/etc", ".."])
def test_the_state_does_not_lead_out_of_the_store(
    store: BundleStore, tmp_path: Path, leads: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.path.mkdir(parents=True)
    small_bundle(tmp_path / "elsewhere")
    text = json.dumps({"schema": "edgehemo.bundle-store/1", "current": leads})
    (store.path / "state.json").write_text(text)
    assert open_in_use(tmp_path / "data").trust == "shipped"
    assert "is damaged" in caplog.text


INSTALL = (
    "import sys; from pathlib import Path; from edgehemo.device import installed_bundles as i\n"
    "i._refuse_wrong_answers = lambda bundle: None\n"
    "i.BundleStore(Path(sys.argv[1])).install(Path(sys.argv[2]))"
)


def test_two_at_once_leave_a_whole_one_in_use(tmp_path: Path) -> None:
    sources = [small_bundle(tmp_path / f"b{serial}", serial) for serial in range(1, 5)]
    for _ in range(3):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", INSTALL, str(tmp_path / "data"), str(source)],
                stderr=subprocess.PIPE,
                text=True,
            )
            for source in sources
        ]
        said = [process.communicate(timeout=120)[1] for process in running]
        for text in said:
            assert not text or "waiting for it" in text or "an older bundle is not used" in text
        found = open_in_use(tmp_path / "data")
        check_whole(found)
        assert found.manifest.serial == 4
        assert all(item.problem is None for item in BundleStore(tmp_path / "data").installed())


def test_what_is_opened_is_what_was_compared_with_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is exchanged right after it was chosen, and right after it was checked."""
    folder = small_bundle(tmp_path / "b")
    opened = load_bundle(folder)
    other = (SHIPPED_BUNDLE / "nucleated.int8.onnx").read_bytes()
    choose = Bundle.artefact

    def exchanged(self: Bundle, *given: Any, **named: Any) -> tuple[Artefact, Path]:
        choose(self, *given)  # checked: as it lies there it is right
        artefact, path = choose(self, *given, **named)
        path.write_bytes(other)
        return artefact, path

    monkeypatch.setattr(Bundle, "artefact", exchanged)
    with pytest.raises(BundleError, match="digest differs"):
        open_model(opened, "cell_finder", threads=1, runtime="onnx")
