"""Media are checked whole before anything is touched: who signed them, each file, and no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edgehemo.bundle.signatures import new_key, read_private_key, remove_trusted
from edgehemo.errors import MediaError
from edgehemo.files.strict import RecordError
from edgehemo_firmware.update.manifest import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    MediaFile,
    MediaManifest,
    wheel_of,
)
from edgehemo_firmware.update.media import opened_media
from tests.support.media import TARGET, media_of, sign_again


@pytest.fixture
def media(tmp_path: Path) -> Path:
    return media_of(tmp_path, "1.0")


def test_whole_media_are_opened_and_every_file_is_looked_at(media: Path) -> None:
    seen: list[str] = []
    opened = opened_media(media, TARGET, lambda file: seen.append(file.path))
    assert opened.manifest.version == "1.0"
    assert opened.signed_by.name == "media"
    assert sorted(seen) == [
        "bill.cdx.json",
        f"installer/{opened.manifest.of('installer')[0].name}",
        "wheels/edgehemo-1.0-py3-none-any.whl",
        "wheels/other_library-1.5-py3-none-any.whl",
    ]


def test_of_several_on_a_stick_the_newest_for_this_device_is_taken(tmp_path: Path) -> None:
    for version in ("1.9", "1.10", "1.10rc1"):
        media_of(tmp_path, version)
    media_of(tmp_path, "3.0", target="aarch64-3.12")
    (tmp_path / f"edgehemo-none-{TARGET}").mkdir()
    (tmp_path / "photographs").mkdir()
    assert opened_media(tmp_path, TARGET).manifest.version == "1.10"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def put_link(media: Path) -> None:
    path = media / "bill.cdx.json"
    copy = media.parent / "bill"
    path.rename(copy)
    path.symlink_to(copy)


WHEEL = "wheels/other_library-1.5-py3-none-any.whl"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda media: (media / SIGNATURE_NAME).unlink(), "is not signed"),
        (lambda media: (media / SIGNATURE_NAME).write_text("{}"), "not an edgehemo.signature"),
        (lambda media: flip(media / MANIFEST_NAME), "one of them was changed"),
        (lambda media: (media / WHEEL).unlink(), "No such file"),
        (lambda media: flip(media / WHEEL), "is not as it was signed"),
        (lambda media: cut(media / WHEEL), "is not as it was signed"),
        (lambda media: (media / "wheels" / "more.whl").touch(), "does not belong.*wheels/more.whl"),
        (lambda media: (media / "autorun.inf").touch(), "does not belong.*autorun.inf"),
        (put_link, "is no regular file"),
        (lambda media: (media / MANIFEST_NAME).unlink(), "holds no media"),
    ],
)
def test_what_was_changed_or_is_not_signed_is_refused(
    media: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(media)
    with pytest.raises(MediaError, match=said):
        opened_media(media, TARGET)


def test_a_key_that_is_not_trusted_here_vouches_for_nothing(tmp_path: Path) -> None:
    private, _ = new_key(tmp_path / "elsewhere", "stranger")
    media = media_of(tmp_path, "1.0", key=read_private_key(private))
    with pytest.raises(MediaError, match="which this device does not trust"):
        opened_media(media, TARGET)


def test_a_key_that_is_no_longer_trusted_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEHEMO_KEYS", str(tmp_path / "keys"))
    media = media_of(tmp_path, "1.0")
    assert opened_media(media, TARGET).signed_by.name == "media"
    remove_trusted("media")
    with pytest.raises(MediaError, match="does not trust"):
        opened_media(media, TARGET)


def test_media_of_another_device_are_refused(tmp_path: Path) -> None:
    media = media_of(tmp_path, "1.0", target="aarch64-3.12")
    with pytest.raises(MediaError, match=f"is for aarch64-3.12 and this device is {TARGET}"):
        opened_media(media, TARGET)
    with pytest.raises(MediaError, match=r"holds no media for .* \(it holds edgehemo-1.0-aarch64"):
        opened_media(tmp_path, TARGET)


def test_a_folder_is_called_what_it_likes(media: Path) -> None:
    """Only what is signed counts."""
    lying = media.with_name(f"edgehemo-9.0-{TARGET}")
    shutil.move(media, lying)
    assert opened_media(lying.parent, TARGET).manifest.version == "1.0"


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/b/c", "wheels/../../x", "a\\b", "", ".", "x/", ".hidden",
     "manifest.json", "wheels/a b.whl"],
)  # fmt: skip
def test_no_path_leads_out_of_the_media(path: str) -> None:
    with pytest.raises(RecordError):
        MediaFile.model_validate({"path": path, "role": "bill", "sha256": "0" * 64, "bytes": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "one"}, "no version"),
        ({"version": "2.0"}, "itself is not among"),
        ({"target": ""}, "target"),
        ({"schema": "edgehemo.bundle/1"}, "schema"),
        ({"extra": 1}, "not a known key"),
        ({"files": []}, "itself is not among"),
    ],
)
def test_a_manifest_that_is_none_is_refused_even_where_it_is_signed(
    media: Path, change: dict[str, object], said: str
) -> None:
    plain = json.loads((media / MANIFEST_NAME).read_bytes()) | change
    with pytest.raises(RecordError, match=said):
        MediaManifest.model_validate(plain)


def test_names_that_a_stick_cannot_tell_apart_are_refused(media: Path) -> None:
    plain = json.loads((media / MANIFEST_NAME).read_bytes())
    plain["files"].append(plain["files"][0] | {"path": "BILL.cdx.json"})
    with pytest.raises(RecordError, match="twice"):
        MediaManifest.model_validate(plain)


def test_signed_again_after_a_change_they_are_whole(media: Path) -> None:
    """The refusals above are of the change, not of the file."""
    flip(media / WHEEL)
    sign_again(media, "1.0")
    assert opened_media(media, TARGET).manifest.version == "1.0"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wheels/PyNaCl-1.6.2-cp38-abi3-manylinux_2_34_x86_64.whl", ("pynacl", "1.6.2")),
        ("ai_edge_litert-2.3.0-cp313-cp313-x.whl", ("ai-edge-litert", "2.3.0")),
        ("openvino-2026.4.1-22982-cp313-cp313-manylinux_2_28_x86_64.whl", ("openvino", "2026.4.1")),
        ("edgehemo-0.2.0rc1-py3-none-any.whl", ("edgehemo", "0.2.0rc1")),
        ("edgehemo-0.2.0.tar.gz", None),
        ("edgehemo.whl", None),
    ],
)
def test_what_a_wheel_is_called(name: str, told: tuple[str, str] | None) -> None:
    assert wheel_of(name) == told
