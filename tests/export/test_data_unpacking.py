"""Unpacking what strangers packed: nothing leaves the folder, nothing but plain files is made."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo_export.data.fetching.problems import DataSetError, NoSpaceError
from edgehemo_export.data.fetching.unpacking import (
    Limits,
    inner_archives,
    kind_of,
    opened,
    taken,
    top_with,
    unpack,
)

ROOMY = Limits(files=1000, total_bytes=10_000_000)


def zipped(path: Path, files: Mapping[str, bytes], *, mode: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, zipfile.ZIP_DEFLATED
            packed.writestr(info, content)
    return path


def rolled(path: Path, infos: list[tarfile.TarInfo], content: bytes = b"") -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info in infos:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


def unpack_all(archive: Path, folder: Path, limits: Limits = ROOMY) -> dict[str, str]:
    folder.mkdir(exist_ok=True)
    with opened(archive, limits) as members:
        return unpack(archive, taken(members, PurePosixPath(), {".": "."}), folder, limits)


def test_the_top_is_found_and_only_what_is_wanted_taken(tmp_path: Path) -> None:
    archive = zipped(
        tmp_path / "a.zip",
        {
            "Set-main/README.md": b"r",
            "Set-main/Dataset/1.jpg": b"1",
            "Set-main/RBC Diseases/HE/s.JPG": b"he",
            "Set-main/RBC Diseases/HE/.DS_Store": b"x",
            "__MACOSX/Set-main/Dataset/._1.jpg": b"x",
            "Set-main/Label/1.txt": b"1 2 3",
        },
    )
    with opened(archive, ROOMY) as members:
        top = top_with(members, ["Dataset", "Label"])
        assert top == PurePosixPath("Set-main")
        wanted = taken(members, top, {"Dataset": "images", "RBC Diseases/HE": "he"})
        folder = tmp_path / "out"
        folder.mkdir()
        digests = unpack(archive, wanted, folder, ROOMY)
    assert sorted(digests) == ["he/s.JPG", "images/1.jpg"]
    assert (folder / "he" / "s.JPG").read_bytes() == b"he"
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"s.JPG", "1.jpg"}
    with opened(archive, ROOMY) as members:
        assert top_with(members, ["Dataset", "Masks"]) is None
        assert top_with(members, ["Label/1.txt"]) == PurePosixPath("Set-main")


def test_tar_of_every_compression_is_unpacked(tmp_path: Path) -> None:
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        path = tmp_path / f"a{mode.replace(':', '.')}"
        with tarfile.open(path, mode) as tar:
            info = tarfile.TarInfo("d/1.txt")
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        assert kind_of(path) == "tar"
        assert list(unpack_all(path, tmp_path / f"out{path.suffix}")) == ["d/1.txt"]


OUT = [
    "../x", "a/../../x", "/etc/x", "\\..\\x", "a\\..\\..\\x", "C:/x", "c:x", "//host/x", "..",
]  # fmt: skip
UNWRITABLE = ["a\nb", "a\x1b[2Jb", "x" * 256, "/".join("d" * 30), "a/" * 300 + "b", "\x7f"]


@pytest.mark.parametrize("name", OUT + UNWRITABLE)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_out_refuses_the_whole_archive(
    tmp_path: Path, name: str, kind: str
) -> None:
    good = tarfile.TarInfo("good.jpg")
    archive = (
        zipped(tmp_path / "a.zip", {"good.jpg": b"1", name: b"2"})
        if kind == "zip"
        else rolled(tmp_path / "a.tgz", [good, tarfile.TarInfo(name)], b"1")
    )
    with pytest.raises(DataSetError, match="not unpacked, since the entry") as refused:
        unpack_all(archive, tmp_path / "out")
    assert "\n" not in str(refused.value) and "\x1b" not in str(refused.value)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    "type_", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_links_and_devices_of_a_tar_are_refused(tmp_path: Path, type_: bytes) -> None:
    link = tarfile.TarInfo("d")
    link.type, link.linkname = type_, "/tmp"
    archive = rolled(tmp_path / "a.tgz", [link, tarfile.TarInfo("d/x")], b"1")
    with pytest.raises(DataSetError, match="'d' is a link or a device"):
        unpack_all(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_link_in_a_zip_and_a_locked_one_are_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"d": b"/etc"}, mode=stat.S_IFLNK | 0o777)
    with pytest.raises(DataSetError, match="a link or a device"):
        unpack_all(archive, tmp_path / "out")
    locked = bytearray(zipped(tmp_path / "b.zip", {"d": b"1"}).read_bytes())
    for start in (locked.index(b"PK\x03\x04") + 6, locked.index(b"PK\x01\x02") + 8):
        locked[start] |= 1
    (tmp_path / "b.zip").write_bytes(locked)
    with pytest.raises(DataSetError, match="locked with a password"):
        unpack_all(tmp_path / "b.zip", tmp_path / "out")


def test_two_in_one_place_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.jpg", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr("a.jpg", b"2")
    with pytest.raises(DataSetError, match=r"'a\.jpg' is there twice"):
        unpack_all(tmp_path / "a.zip", tmp_path / "out")
    archive = zipped(tmp_path / "b.zip", {"a": b"1", "a/b": b"2"})
    with pytest.raises(DataSetError, match="'a' is a file and a folder"):
        unpack_all(archive, tmp_path / "out")


def test_more_than_allowed_does_not_come_out(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "a.zip", {"a.jpg": bytes(5_000_000)})
    assert bomb.stat().st_size < 10_000
    with pytest.raises(DataSetError, match="more comes out than the 1 MB"):
        unpack_all(bomb, tmp_path / "out", Limits(10, 1_000_000))
    many = zipped(tmp_path / "b.zip", {f"{n}.jpg": b"" for n in range(11)})
    with pytest.raises(DataSetError, match="more than the 10 entries"):
        unpack_all(many, tmp_path / "out", Limits(10, 1_000_000))
    infos = [tarfile.TarInfo(f"{n}.jpg") for n in range(11)]
    with pytest.raises(DataSetError, match="more than the 10 entries"):
        unpack_all(rolled(tmp_path / "c.tgz", infos), tmp_path / "out", Limits(10, 1_000_000))


def test_a_size_that_is_untrue_helps_nobody(tmp_path: Path) -> None:
    """The directory of a zip may say less than comes out."""
    raw = bytearray(zipped(tmp_path / "a.zip", {"a.jpg": bytes(3_000_000)}).read_bytes())
    at = raw.index(b"PK\x01\x02") + 24
    raw[at : at + 4] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(DataSetError, match=r"damaged|more comes out"):
        unpack_all(tmp_path / "a.zip", tmp_path / "out", Limits(10, 1_000_000))
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 1_000_000


def test_damage_names_the_archive_or_the_file(tmp_path: Path) -> None:
    raw = bytearray(zipped(tmp_path / "a.zip", {"a.jpg": os.urandom(2000)}).read_bytes())
    raw[500] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(raw)
    with pytest.raises(DataSetError, match=r"a\.zip: a\.jpg is damaged"):
        unpack_all(tmp_path / "a.zip", tmp_path / "out")
    (tmp_path / "b.zip").write_bytes(raw[:-30])
    with pytest.raises(DataSetError, match="neither zip nor tar"):
        unpack_all(tmp_path / "b.zip", tmp_path / "out2")
    whole = rolled(tmp_path / "c.tgz", [tarfile.TarInfo("a.jpg")], os.urandom(9000)).read_bytes()
    (tmp_path / "c.tgz").write_bytes(whole[:5000])
    with pytest.raises(DataSetError, match="damaged"):
        unpack_all(tmp_path / "c.tgz", tmp_path / "out3")


def test_a_page_in_the_place_of_an_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("\n<!DOCTYPE html><title>Just a moment...</title>")
    with pytest.raises(DataSetError, match="a page for people"):
        unpack_all(tmp_path / "a.zip", tmp_path / "out")


def test_what_cannot_fit_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped(tmp_path / "a.zip", {"a.jpg": bytes(3_000_000)})
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(NoSpaceError, match=r"unpacks to 3\.0 MB and 1\.0 MB are free"):
        unpack_all(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_archives_in_an_archive_are_told_by_name(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "a.zip", {"d/in.ZIP": b"", "b.tar.gz": b"", "c.jpg": b""})
    with opened(archive, ROOMY) as members:
        assert [member.path.name for member in inner_archives(members)] == ["in.ZIP", "b.tar.gz"]


PARTS = st.sampled_from(["..", ".", "", "a", "b", "C:", "x\\y", "\\", "é", "a b", "\x00", "~", "-"])
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join) | st.text(max_size=20)
KINDS = st.sampled_from([0, stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR, stat.S_IFIFO, stat.S_IFCHR])


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(NAMES, KINDS, st.binary(max_size=40)), max_size=6))
def test_no_zip_writes_outside(entries: list[tuple[str, int, bytes]]) -> None:
    """Whatever it holds: only plain files below the folder, or one error of ours."""
    with tempfile.TemporaryDirectory() as base:
        archive = Path(base) / "in" / "a.zip"
        archive.parent.mkdir()
        with zipfile.ZipFile(archive, "w") as packed:
            for name, mode, content in entries:
                try:
                    info = zipfile.ZipInfo(name or "n")
                    info.filename = name or "n"  # what ZipInfo would have tidied up
                    info.external_attr = (mode | 0o777) << 16
                    packed.writestr(info, content)
                except (ValueError, UnicodeEncodeError):
                    continue
        _held_inside(archive, Path(base))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            NAMES,
            st.sampled_from(
                [
                    tarfile.REGTYPE,
                    tarfile.SYMTYPE,
                    tarfile.LNKTYPE,
                    tarfile.DIRTYPE,
                    tarfile.FIFOTYPE,
                ]
            ),
            NAMES,
        ),
        max_size=6,
    )
)
def test_no_tar_writes_outside(entries: list[tuple[str, bytes, str]]) -> None:
    with tempfile.TemporaryDirectory() as base:
        archive = Path(base) / "in" / "a.tar"
        archive.parent.mkdir()
        with tarfile.open(archive, "w") as tar:
            for name, type_, link in entries:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = type_, link
                try:
                    tar.addfile(info, io.BytesIO(b"") if info.isreg() else None)
                except (ValueError, UnicodeEncodeError):
                    continue
        _held_inside(archive, Path(base))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_no_damage_does_worse_than_an_error_of_ours(junk: bytes, at: int, value: int) -> None:
    with tempfile.TemporaryDirectory() as base:
        archive = Path(base) / "in" / "a.zip"
        archive.parent.mkdir()
        raw = bytearray(zipped(archive, {"a/b.jpg": b"picture" * 9, "c": b"x"}).read_bytes())
        raw[min(at, len(raw) - 1)] = value
        archive.write_bytes(bytes(raw) + junk)
        _held_inside(archive, Path(base))


def _held_inside(archive: Path, base: Path) -> None:
    out = base / "out"
    out.mkdir()
    try:
        written = unpack_all(archive, out, Limits(50, 10_000))
    except DataSetError as error:
        assert "\n" not in str(error)
        written = None
    outside = {path.name for path in base.iterdir()} - {"in", "out"}
    assert not outside
    assert {path.name for path in archive.parent.iterdir()} == {archive.name}
    files = [path for path in out.rglob("*") if not path.is_dir() or path.is_symlink()]
    for path in files:
        assert stat.S_ISREG(path.lstat().st_mode)
    if written is not None:
        assert {path.relative_to(out).as_posix() for path in files} == set(written)
