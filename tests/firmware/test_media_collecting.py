"""Media are made: the lock's wheels for the target, edgehemo itself, the bill, one signature."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgehemo.bundle.signatures import read_public_key
from edgehemo.errors import UsageError
from edgehemo.files.atomic import sha256_of_file
from edgehemo.records import schema
from edgehemo_firmware.dependencies.lock import LockedPackage, installer_lock, locked_for, read_lock
from edgehemo_firmware.dependencies.targets import TARGETS, Target, this_target
from edgehemo_firmware.update import collecting, commands
from edgehemo_firmware.update.collecting import Collecting, collect, platforms, records_version_in
from edgehemo_firmware.update.debs import Mirrors, mirrors_beside, own_mirrors, sources_for
from edgehemo_firmware.update.installing import Changing, confirm, update
from edgehemo_firmware.update.media import opened_media
from edgehemo_firmware.update.own_wheel import own_wheel, packed_wheel
from edgehemo_firmware.update.signing import signing_key
from tests.support import media as support
from tests.support.media import TARGET, place_in, stand_in, wheel
from tests.support.media import signing_key as trusted_key


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip finds all in, with a lock of its own."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    other = wheel(folder, "other_library", "1.5", {"other_library.py": "VALUE = 1\n"})
    pip = support.quick_installer(folder)

    def lock_of(name: str, version: str, path: Path) -> tuple[LockedPackage, ...]:
        return (LockedPackage(name, version, "", (sha256_of_file(path),)),)

    locks = {"device": lock_of("other-library", "1.5", other), "pip": lock_of("pip", "1.0", pip)}
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setattr(collecting, "read_lock", lambda text: locks[text])
    for name, key in (("shipped_lock", "device"), ("installer_lock", "pip")):
        (tmp_path / f"{key}.lock").write_text(key)
        monkeypatch.setattr(collecting, name, lambda key=key: tmp_path / f"{key}.lock")
    monkeypatch.setattr(collecting, "own_wheel", lambda place, source: stand_in(place, "1.0"))
    return folder


def test_what_was_collected_is_opened_and_installs(shelf: Path, tmp_path: Path) -> None:
    said: list[str] = []
    wanted = Collecting(trusted_key(), wheels=[shelf], tell=said.append)
    made = collect(tmp_path / "stick", this_target(), wanted)
    assert made == tmp_path / "stick" / f"edgehemo-1.0-{TARGET}"
    media = opened_media(tmp_path / "stick", TARGET)
    manifest = media.manifest
    assert {file.path: file.role for file in manifest.files} == {
        "install.py": "starter",
        "installer/pip-1.0-py3-none-any.whl": "installer",
        "wheels/edgehemo-1.0-py3-none-any.whl": "wheel",
        "wheels/other_library-1.5-py3-none-any.whl": "wheel",
        f"edgehemo-{TARGET}.cdx.json": "bill",
    }
    assert (manifest.version, manifest.records_version) == ("1.0", 2)
    bill = json.loads((made / f"edgehemo-{TARGET}.cdx.json").read_bytes())
    assert [item["name"] for item in bill["components"]] == ["other-library"]
    assert bill["metadata"]["component"]["version"] == "1.0"
    assert said[0] == f"1 packages for {TARGET}"
    changing = Changing(place_in(tmp_path / "device"), TARGET)
    update(changing, tmp_path / "stick")
    assert confirm(changing).version == "1.0"


def test_made_again_they_take_the_place_of_what_was_there(shelf: Path, tmp_path: Path) -> None:
    wanted = Collecting(trusted_key(), wheels=[shelf], bill=False)
    made = collect(tmp_path / "stick", this_target(), wanted)
    (made / "left over").touch()
    assert collect(tmp_path / "stick", this_target(), wanted) == made
    assert opened_media(made, TARGET).manifest.version == "1.0"
    assert sorted(path.name for path in (tmp_path / "stick").iterdir()) == [made.name]


def test_a_wheel_that_cannot_be_had_is_named_and_nothing_is_left(
    shelf: Path, tmp_path: Path
) -> None:
    next(shelf.glob("other_library*")).unlink()
    with pytest.raises(UsageError, match=r"could not be had: .*other-library"):
        collect(tmp_path / "stick", this_target(), Collecting(trusted_key(), wheels=[shelf]))
    assert list((tmp_path / "stick").iterdir()) == []


def test_a_wheel_with_another_digest_is_not_taken(shelf: Path, tmp_path: Path) -> None:
    wheel(shelf, "other_library", "1.5", {"other_library.py": "VALUE = 666\n"})
    with pytest.raises(UsageError, match=r"(?i)hash"):
        collect(tmp_path / "stick", this_target(), Collecting(trusted_key(), wheels=[shelf]))


def test_debian_packages_lie_beside_the_wheels(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deb = tmp_path / "cage_1%3a0.2.0-2_arm64.deb"
    deb.write_bytes(b"!<arch>\n")
    asked: list[tuple[object, ...]] = []

    def fetched(names: Sequence[str], _: Path, *more: object) -> list[Path]:
        asked.append((names, *more))
        return [deb]

    monkeypatch.setattr(collecting, "fetch_debs", fetched)
    wanted = Collecting(trusted_key(), wheels=[shelf], bill=False, debs=["cage"])
    made = collect(tmp_path / "stick", this_target(), wanted)
    assert asked == [(["cage"], this_target(), (), None)]
    manifest = opened_media(made, TARGET).manifest
    assert [file.path for file in manifest.of("deb")] == ["deb/cage_1+0.2.0-2_arm64.deb"]


MIRRORS = Mirrors("http://mirror.example/debian", "http://mirror.example/debian-security")


def test_debian_is_asked_at_the_mirror_that_the_workstation_uses() -> None:
    other = "https://other.example/apt|Other\n"
    fetched = "http://safe.example/debian-security/|Debian\nhttp://mirror.example/debian/|Debian\n"
    assert own_mirrors(other + fetched) == Mirrors(
        "http://mirror.example/debian", "http://safe.example/debian-security"
    )
    # Another's archive may be called the same; one whose list was not fetched yet says no name.
    assert own_mirrors("http://other.example/linux/debian/|Other\n") is None
    assert own_mirrors("http://mirror.example/debian/|$(ORIGIN)\n") == MIRRORS
    assert mirrors_beside("http://mirror.example/debian/") == MIRRORS
    assert own_mirrors(other) is None


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_debian_is_asked_for_the_release_that_has_the_targets_python(target: Target) -> None:
    if target.python == "3.12":
        with pytest.raises(UsageError, match=r"no release of Debian has Python 3\.12"):
            sources_for(target, MIRRORS)
        return
    more = "deb http://archive.example/debian trixie main"
    lines = sources_for(target, MIRRORS, [more]).splitlines()
    suite = {"3.11": "bookworm", "3.13": "trixie"}[target.python]
    assert len(lines) == 4 and lines[-1] == more
    assert all(f" {suite}" in line and "signed-by=" in line for line in lines[:3])


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_platforms_of_a_target_go_down_to_the_oldest(target: Target) -> None:
    names = platforms(target)
    assert names[0] == f"manylinux_2_36_{target.machine}"
    assert f"manylinux_2_17_{target.machine}" in names
    assert f"manylinux2014_{target.machine}" in names


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_one_pip_is_locked_for_every_target(target: Target) -> None:
    (pip,) = locked_for(read_lock(installer_lock().read_text("utf-8")), target)
    assert pip.name == "pip" and pip.sha256


def test_the_records_version_is_that_of_the_wheels_own_migrations(tmp_path: Path) -> None:
    assert records_version_in(stand_in(tmp_path, "1.0")) == 2
    with pytest.raises(UsageError, match="no migrations"):
        records_version_in(wheel(tmp_path, "other", "1.0", {"other.py": ""}))
    with zipfile.ZipFile(tmp_path / "of_this_tree.whl", "w") as packed:
        for number, _ in enumerate(schema.migrations(), start=1):
            packed.writestr(f"edgehemo/records/migrations/{number:04d}_x.sql", "")
    assert records_version_in(tmp_path / "of_this_tree.whl") == schema.newest()


def installed(folder: Path, version: str = "1.0") -> PathDistribution:
    """The stand-in as an installer leaves it: bytecode, a command, and metadata of its own."""
    folder.mkdir(parents=True)
    with zipfile.ZipFile(stand_in(folder.parent, version)) as packed:
        packed.extractall(folder)
    info = folder / f"edgehemo-{version}.dist-info"
    (info / "INSTALLER").write_text("pip\n")
    (folder / "edgehemo" / "__pycache__").mkdir()
    (folder / "edgehemo" / "__pycache__" / "x.pyc").write_bytes(b"\0")
    with (info / "RECORD").open("a") as record:
        record.write(f"edgehemo/__pycache__/x.pyc,,\n{info.name}/INSTALLER,,\n../bin/edgehemo,,\n")
    return PathDistribution(info)


def test_an_installed_package_is_put_together_again_as_the_wheel_it_came_by(
    tmp_path: Path,
) -> None:
    (tmp_path / "out").mkdir()
    made = packed_wheel(installed(tmp_path / "site"), tmp_path / "out")
    original = tmp_path / made.name
    with zipfile.ZipFile(made) as ours, zipfile.ZipFile(original) as theirs:
        assert {*ours.namelist()} == {*theirs.namelist()}
        for name in theirs.namelist():
            if not name.endswith("/RECORD"):
                assert ours.read(name) == theirs.read(name)
            else:
                assert sorted(ours.read(name).split()) == sorted(theirs.read(name).split())
    digest = sha256_of_file(made)
    assert sha256_of_file(packed_wheel(installed(tmp_path / "b" / "site"), tmp_path)) == digest


def test_a_package_that_was_changed_is_not_given_on(tmp_path: Path) -> None:
    distribution = installed(tmp_path / "site")
    (tmp_path / "site" / "edgehemo" / "__init__.py").write_text("changed = True\n")
    with pytest.raises(UsageError, match="was changed since it was installed"):
        packed_wheel(distribution, tmp_path)


def test_a_package_that_is_installed_from_a_folder_has_no_files_to_give(tmp_path: Path) -> None:
    info = tmp_path / "site" / "edgehemo-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: edgehemo\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{info.name}/METADATA,,\n")
    with pytest.raises(UsageError, match="--source"):
        packed_wheel(PathDistribution(info), tmp_path)


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    with pytest.raises(UsageError, match=r"is no checkout of edgehemo: it has no pyproject\.toml"):
        own_wheel(tmp_path, tmp_path)


def test_the_command_says_where_they_lie_and_who_signed(shelf: Path, tmp_path: Path) -> None:
    key = trusted_key()
    done = CliRunner().invoke(
        commands.media,
        [str(tmp_path / "stick"), "--target", TARGET, "--wheels", str(shelf), "--no-bill",
         "--key", str(own_private(key.name)), "--json", str(tmp_path / "made.json")],
        standalone_mode=False,
    )  # fmt: skip
    assert done.exception is None, done.output
    assert f"signed by {key.name} ({key.public.identifier})" in done.output
    told = json.loads((tmp_path / "made.json").read_bytes())
    (entry,) = told["media"]
    assert (entry["version"], entry["target"]) == ("1.0", TARGET)
    assert entry["key"] == key.public.identifier


def own_private(name: str) -> Path:
    from edgehemo.bundle.signatures import own_key_folder

    return own_key_folder() / f"{name}.key"


def test_who_has_no_key_is_told_how_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEHEMO_KEYS", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="edgehemo keys new"):
        signing_key(None, tmp_path)


def test_a_private_key_must_not_lie_on_the_stick(tmp_path: Path) -> None:
    trusted_key()
    stick = own_private("media").parent
    assert read_public_key(own_private("media").with_suffix(".pub")).name == "media"
    with pytest.raises(UsageError, match="must not lie on the media"):
        signing_key(own_private("media"), stick)
