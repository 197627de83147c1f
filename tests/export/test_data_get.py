"""`edgehemo data list` and `get`: from a local mirror, interrupted, tampered with, no space."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgehemo_export.commands.data import data
from edgehemo_export.data.fetching import registry
from edgehemo_export.data.fetching.getting import DOWNLOADS
from edgehemo_export.data.fetching.locks import LOCK_FILE, read_lock
from edgehemo_export.data.fetching.registry import release_named, releases
from edgehemo_export.data.sets import READERS, read_set
from edgehemo_export.data.sets.picture import SetPicture
from tests.support.data_mirror import Fault, Mirror, mirror
from tests.support.published_sets import PICTURES, jpeg, packed, published

EDGEHEMO = [sys.executable, "-m", "edgehemo"]


@pytest.fixture
def unpinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry without pins, which small archives cannot meet."""
    text = registry.REGISTRY.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("pinned =", "ours ="))]
    own = tmp_path / "registry.toml"
    own.write_text("\n".join(lines))
    monkeypatch.setattr(registry, "REGISTRY", own)
    releases.cache_clear()


@pytest.fixture(autouse=True)
def _fresh_registry() -> Iterator[None]:
    """What a test put in the registry's place is known to no other."""
    yield
    releases.cache_clear()


@pytest.fixture
def served() -> Iterator[Mirror]:
    with mirror(published()) as server:
        yield server


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(data, [str(a) for a in arguments], standalone_mode=False)


def get(root: Path, name: str, place: str | Path, *more: str | Path) -> Result:
    return run("get", name, "--data", root, "--mirror", place, "--accept-licence", *more)


def told(result: Result) -> str:
    """The one line of an error."""
    assert result.exception is not None, result.output
    line = str(result.exception)
    assert "\n" not in line
    return line


def tree(root: Path) -> list[str]:
    """All files below a data root but the lock of the lock."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    )


# -- the registry -------------------------------------------------------------------------------


def test_every_entry_is_whole() -> None:
    names = list(releases())
    assert {"bccd", "chula_rbc12", "pbc", "txl_pbc", "redtell", "anerbc", "uganda_phone"} <= set(
        names
    )
    files = [release.archive.file for release in releases().values()]
    assert len(set(files)) == len(files)
    for name, release in releases().items():
        assert release.archive.file == f"{name}.zip"
        assert release.sets and all(placed.name in READERS for placed in release.sets)
        assert (release.archive.url is None) == (release.archive.url_said_by == "none")
        for address in (release.page, release.licence_page, release.archive.url or release.page):
            assert address.startswith("https://")
        assert release.unsure and all(line.endswith(".") for line in release.unsure)
        for placed in release.sets:
            pinned = registry.pinned_digests(placed)
            ours = registry.our_digests(placed)
            assert not set(pinned) & set(ours)
            for path in (*pinned, *ours):
                assert any(path.startswith(f"{called}/") for called in placed.take.values()), path
    assert releases()["bccd"].pinned_files == 292
    assert releases()["chula_rbc12"].pinned_files == 529


def test_a_folder_s_name_stands_for_what_brings_it_and_a_slip_is_helped() -> None:
    assert release_named("chula_disease")[0] == "chula_rbc12"
    result = run("get", "bcdd", "--data", "x")
    assert told(result) == "no data set 'bcdd'; did you mean bccd?"
    assert "there are bccd, chula_rbc12" in told(run("list", "zzz"))


def test_list_says_what_is_not_sure(tmp_path: Path) -> None:
    (tmp_path / "bccd").mkdir()
    result = run("list", "--data", tmp_path, "--json", "-")
    rows = {row["name"]: row for row in json.loads(result.stdout)["sets"]}
    assert rows["bccd"]["pinned_files"] == 292 and rows["pbc"]["pinned_files"] == 0
    assert rows["bccd"]["here"] == [str(tmp_path / "bccd")] and rows["pbc"]["here"] == []
    assert rows["lmu"]["url"] is None
    table = run("list").output
    assert "292 pinned" in table and "not pinned" in table and "by hand" in table
    assert "No address was tried" in table
    one = run("list", "uganda_phone").output
    assert "DbCL" in one and "not sure" in one and "as others quote it" in one


# -- fetching -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("unpinned")
@pytest.mark.parametrize("name", releases())
def test_what_is_published_becomes_what_the_readers_take(
    tmp_path: Path, served: Mirror, name: str
) -> None:
    root = tmp_path / "data"
    result = get(root, name, served.url, "--json", "-")
    assert result.exit_code == 0, result.exception
    told = json.loads(result.stdout)["sets"]
    sets = [placed.name for placed in releases()[name].sets]
    assert [row["name"] for row in told] == sets
    for row in told:
        found: list[SetPicture] = read_set(root, row["name"])
        assert len(found) == row["pictures"] == PICTURES[row["name"]]
        assert all(picture.path.is_file() for picture in found)
        assert row["state"] == "fetched" and row["folder"] == str(root / row["name"])
    assert not (root / DOWNLOADS).exists()
    assert {path.split("/")[0] for path in tree(root)} == {*sets, LOCK_FILE}
    if name == "chula_rbc12":
        diseases = {picture.labels.class_name for picture in read_set(root, "chula_disease")}
        assert diseases == {
            "hereditary_elliptocytosis", "hereditary_spherocytosis", "iron_deficiency",
            "megaloblastic", "thalassemia",
        }  # fmt: skip
    if name == "uganda_phone":
        assert not any("Labelled/" in path and "Unl" not in path for path in tree(root))
    if name == "redtell":
        # The archive is not the one whose digest is quoted: told, and no fault.
        assert told[0]["archive_as_published"] is False


@pytest.mark.usefixtures("unpinned")
def test_what_is_there_and_whole_is_left_and_what_is_not_is_named(
    tmp_path: Path, served: Mirror
) -> None:
    root = tmp_path / "data"
    assert get(root, "bccd", served.url).exit_code == 0
    asked = len(served.asked)
    again = get(root, "bccd", served.url)
    assert "already there" in again.output and len(served.asked) == asked
    # White-cell types of one's own beside it are no fault, and stay.
    (root / "bccd" / "BCCD" / "white_cell_types.csv").write_text("image,types\n")
    (root / "bccd" / "BCCD" / "JPEGImages" / "BloodImage_00001.jpg").write_bytes(b"other")
    (root / "bccd" / "BCCD" / "Annotations" / "BloodImage_00002.xml").unlink()
    line = told(get(root, "bccd", served.url))
    assert "1 changed (BCCD/JPEGImages/BloodImage_00001.jpg)" in line
    assert "1 missing (BCCD/Annotations/BloodImage_00002.xml)" in line and "--again" in line
    assert get(root, "bccd", served.url, "--again").exit_code == 0
    assert "already there" in get(root, "bccd", served.url).output
    assert (root / "bccd" / "BCCD" / "white_cell_types.csv").is_file()


@pytest.mark.usefixtures("unpinned")
def test_another_content_than_at_first_is_refused_and_named(tmp_path: Path, served: Mirror) -> None:
    root = tmp_path / "data"
    assert get(root, "uganda_phone", served.url).exit_code == 0
    before = {path: (root / path).read_bytes() for path in tree(root)}
    served.files["uganda_phone.zip"] = packed(
        {"Negative/Clear/1.jpg": jpeg(99), "Positive/Unlabelled/1.jpg": jpeg(34)}
    )
    line = told(get(root, "uganda_phone", served.url, "--again"))
    assert "other digest" in line and "Negative/Clear/1.jpg" in line and "Unlabelled" not in line
    assert {path: (root / path).read_bytes() for path in tree(root)} == before
    assert get(root, "uganda_phone", served.url, "--again", "--trust-new").exit_code == 0
    assert (root / "uganda_phone" / "Negative" / "Clear" / "1.jpg").read_bytes() == jpeg(99)


def test_a_wrong_digest_of_the_registry_names_the_file(
    tmp_path: Path, served: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pins as they are: small archives hold other labels, and lack most of them."""
    root = tmp_path / "data"
    line = told(get(root, "bccd", served.url))
    assert "that the registry pins" in line and "BCCD/Annotations/BloodImage_00000.xml" in line
    assert "--trust-new" in line
    assert tree(root) == [], "nothing is left, not even the archive"
    assert get(root, "bccd", served.url, "--trust-new").exit_code == 0


@pytest.mark.usefixtures("unpinned")
def test_interrupted_and_resumed(tmp_path: Path) -> None:
    """The program is killed twice: while it fetches and while it unpacks."""
    files = {f"Positive/Unlabelled/{n}.jpg": os.urandom(60_000) for n in range(40)}
    body = packed({"Negative/Clear/1.jpg": jpeg(1), **files})
    root = tmp_path / "data"
    with mirror({"uganda_phone.zip": body}) as server:
        server.faults = [Fault(cut_after=1_000_000)]
        code = (
            "import os, sys, time\n"
            "from edgehemo_export.data.fetching import unpacking\n"
            "if sys.argv[1] == 'fetching': time.sleep = lambda s: os._exit(9)\n"
            "else: unpacking.hashlib.sha256 = lambda: os._exit(9)\n"
            "from edgehemo_export.data.fetching import transfer\n"
            "if sys.argv[1] == 'fetching':\n"
            "    transfer.Transfer.__dataclass_fields__['sleep'].default\n"
            "    made = transfer.Transfer.__init__\n"
            "    def init(self, *a, **k):\n"
            "        made(self, *a, **k); self.sleep = lambda s: os._exit(9)\n"
            "    transfer.Transfer.__init__ = init\n"
            "from edgehemo.cli import main\n"
            "sys.argv = ['edgehemo', *sys.argv[2:]]\n"
            "sys.exit(main())\n"
        )
        command = ["data", "get", "uganda_phone", "--data", root, "--mirror", server.url]
        for phase, left in (
            ("fetching", "uganda_phone.zip.part"),
            ("unpacking", "uganda_phone.zip"),
        ):
            done = subprocess.run(
                [sys.executable, "-c", code, phase, *map(str, command), "--accept-licence"],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 9, done.stderr
            assert left in {path.name for path in (root / DOWNLOADS).iterdir()}
            assert not (root / "uganda_phone").exists(), "nothing under its name yet"
        assert get(root, "uganda_phone", server.url).exit_code == 0
        assert server.sent == len(body), "no byte is fetched twice"
    assert len(read_set(root, "uganda_phone")) == 41
    assert not any(path.startswith(".") for path in tree(root))


@pytest.mark.usefixtures("unpinned")
def test_a_folder_that_is_somebody_s_is_left(tmp_path: Path, served: Mirror) -> None:
    root = tmp_path / "data"
    (root / "BCCD_Dataset").mkdir(parents=True)
    (root / "BCCD_Dataset" / "mine.txt").write_text("x")
    line = told(get(root, "bccd", served.url))
    assert "was not fetched by this command" in line and served.asked == []


@pytest.mark.usefixtures("unpinned")
def test_a_folder_is_a_mirror_and_is_made_by_keeping(tmp_path: Path, served: Mirror) -> None:
    stick = tmp_path / "stick"
    assert get(tmp_path / "one", "pbc", served.url, "--keep", stick).exit_code == 0
    assert [path.name for path in stick.iterdir()] == ["pbc.zip"]
    assert get(tmp_path / "two", "pbc", stick, "--keep", stick).exit_code == 0
    assert (stick / "pbc.zip").read_bytes() == served.files["pbc.zip"]
    assert read_lock(tmp_path / "two").sets["pbc"].source == str(stick / "pbc.zip")
    assert "holds no bccd.zip" in told(get(tmp_path / "two", "bccd", stick))
    assert "neither a folder nor an address" in told(get(tmp_path / "two", "bccd", "nowhere"))
    by_variable = CliRunner().invoke(
        data,
        ["get", "pbc", "--accept-licence"],
        standalone_mode=False,
        env={"EDGEHEMO_DATA": str(tmp_path / "three"), "EDGEHEMO_DATA_MIRROR": str(stick)},
    )
    assert by_variable.exit_code == 0 and (tmp_path / "three" / "pbc").is_dir()


def test_what_is_had_by_hand_alone_says_how() -> None:
    line = told(run("get", "lmu", "--data", "x", "--accept-licence"))
    assert "by hand" in line and "lmu.zip" in line and "--mirror" in line


def test_where_to_must_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEHEMO_DATA", raising=False)
    assert "--data DIR" in told(run("get", "bccd", "--accept-licence"))


def test_an_archive_of_another_set_is_told(tmp_path: Path, served: Mirror) -> None:
    served.files["pbc.zip"] = served.files["uganda_phone.zip"]
    line = told(get(tmp_path / "data", "pbc", served.url))
    assert "pbc is not in it" in line
    served.files["pbc.zip"] = b"<html>Just a moment..."
    assert "a page for people" in told(get(tmp_path / "data", "pbc", served.url))
    assert tree(tmp_path / "data") == []


def test_a_damaged_lock_is_told(tmp_path: Path, served: Mirror) -> None:
    (tmp_path / LOCK_FILE).write_text('{"schema": "edgehemo.data-lock/1"}')
    assert "not a record of edgehemo.data-lock/1" in told(get(tmp_path, "pbc", served.url))


# -- licence ------------------------------------------------------------------------------------


def test_without_a_yes_nothing_is_fetched(tmp_path: Path, served: Mirror) -> None:
    result = run("get", "pbc", "--data", tmp_path / "data", "--mirror", served.url)
    assert "--accept-licence" in told(result)
    assert "CC BY 4.0, as others quote it" in result.stderr and "Acevedo" in result.stderr
    assert served.asked == []


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_at_a_terminal_one_is_asked(tmp_path: Path, served: Mirror, answer: str, code: int) -> None:
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [*EDGEHEMO, "data", "get", "pbc", "--data", str(tmp_path / "data"), "--mirror", served.url],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    _, said = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == code, said
    assert "Accept this licence? [y/N]" in said
    assert (tmp_path / "data" / "pbc").is_dir() == (code == 0)


# -- no space -----------------------------------------------------------------------------------


def test_a_full_disk_while_fetching_ends_in_one_line(tmp_path: Path, served: Mirror) -> None:
    """The server tells no size, so that it is met in the middle."""
    served.sized = False
    served.files["pbc.zip"] = os.urandom(2_000_000)
    done = _limited(tmp_path / "data", served.url, 500_000)
    assert done.returncode == 2 and "no space left for pbc.zip" in done.stderr
    assert done.stderr.count("\n") == 5, done.stderr  # four of the licence, and one
    assert tree(tmp_path / "data") == []


def test_a_full_disk_while_unpacking_keeps_the_whole_archive(
    tmp_path: Path, served: Mirror
) -> None:
    served.files["pbc.zip"] = packed(
        {
            f"PBC_dataset_normal_DIB/{kind}/X_{n}.jpg": bytes(900_000)
            for n, kind in enumerate(("basophil", "eosinophil", "ig", "platelet"))
        }
    )
    done = _limited(tmp_path / "data", served.url, 500_000)
    assert done.returncode == 2 and "no space left for pbc.zip" in done.stderr
    assert "The archive is whole and stays" in done.stderr and "Traceback" not in done.stderr
    assert tree(tmp_path / "data") == [f"{DOWNLOADS}/pbc.zip"]
    asked = len(served.asked)
    assert get(tmp_path / "data", "pbc", served.url).exit_code == 0
    assert len(served.asked) == asked, "it is not fetched again"
    assert not (tmp_path / "data" / DOWNLOADS).exists()


def test_a_small_disk_is_full(tmp_path: Path, served: Mirror) -> None:
    """A real one, of two megabytes."""
    if shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("no full disk: mounting a small one needs unshare and root")
    root = tmp_path / "data"
    root.mkdir()
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no full disk: this machine lets nobody make a mount namespace")
    served.sized = False
    served.files["pbc.zip"] = os.urandom(4_000_000)
    script = (
        'mount -t tmpfs -o size=2m small "$1" && '
        '"$2" -m edgehemo data get pbc --data "$1" --mirror "$3" --accept-licence; '
        'code=$?; find "$1" -type f ! -name "*.lock"; exit $code'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(root), sys.executable, served.url],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == "" and "no space left for pbc.zip" in done.stderr


def _limited(root: Path, url: str, most_bytes: int) -> subprocess.CompletedProcess[str]:
    """No file may be larger, which is what a full disk looks like to who writes one."""
    return subprocess.run(
        [*EDGEHEMO, "data", "get", "pbc", "--data", str(root), "--mirror", url, "--accept-licence"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
    )


# -- the published set itself -------------------------------------------------------------------


@pytest.mark.real
def test_the_pins_hold_for_the_set_that_lies_here(data_root: Path, tmp_path: Path) -> None:
    """BCCD packed as its host packs it: every pin and every picture; then one label is another."""
    top = "BCCD_Dataset-135df0221baca7b51c18190791522ddeba8fddbf/BCCD"
    files = {
        f"{top}/{folder}/{path.name}": path.read_bytes()
        for folder, inner in (("JPEGImages", "images"), ("Annotations", "boxes"))
        for path in (data_root / "bccd" / inner).iterdir()
    }
    with mirror({"bccd.zip": packed(files)}) as server:
        result = get(tmp_path / "data", "bccd", server.url, "--json", "-")
        assert result.exit_code == 0, result.exception
        row = json.loads(result.stdout)["sets"][0]
        assert (row["pinned_files"], row["same_as_ours"], row["other_than_ours"]) == (292, 292, 0)
        assert row["pictures"] == 292
        name = f"{top}/Annotations/BloodImage_00010.xml"
        files[name] = files[name].replace(b"RBC", b"WBC")
        server.files["bccd.zip"] = packed(files)
        line = told(get(tmp_path / "other", "bccd", server.url))
        assert "that the registry pins: BCCD/Annotations/BloodImage_00010.xml." in line
