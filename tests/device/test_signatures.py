"""Keys and signatures: who may vouch for a bundle, and what is refused."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from edgehemo.bundle.bundle import load_bundle
from edgehemo.bundle.signatures import (
    PublicKey,
    check_signature,
    key_folders,
    new_key,
    own_key_folder,
    read_private_key,
    read_public_key,
    signature_text,
    trusted_keys,
)
from edgehemo.commands.keys import keys
from edgehemo.errors import BundleError, UsageError
from tests.support.bundle_makers import signing_key, small_bundle


def test_a_new_key_is_its_owners_alone_and_comes_back(tmp_path: Path) -> None:
    private, public = new_key(tmp_path / "keys", "lab")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    key = read_private_key(private)
    assert key.public == public == read_public_key(private.with_suffix(".pub"))
    assert repr(key) == "PrivateKey(lab)" and key.line.split()[1] not in repr(key)
    with pytest.raises(UsageError, match="exists already"):
        new_key(tmp_path / "keys", "lab")
    with pytest.raises(UsageError, match="letters, digits"):
        new_key(tmp_path / "keys", "../lab")


def test_halves_are_not_taken_for_one_another(tmp_path: Path) -> None:
    private, _ = new_key(tmp_path, "lab")
    with pytest.raises(UsageError, match="holds its private half"):
        read_public_key(private)
    with pytest.raises(UsageError, match="holds its public half"):
        read_private_key(private.with_suffix(".pub"))
    stranger = tmp_path / "x.pub"
    stranger.write_text("ssh-ed25519 AAAA someone\n")
    with pytest.raises(UsageError, match="holds something else"):
        read_public_key(stranger)
    stranger.write_text("edgehemo-ed25519-public AAAA short\n")
    with pytest.raises(UsageError, match="damaged"):
        read_public_key(stranger)
    stranger.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="no public key can be read"):
        read_public_key(stranger)


def test_the_published_vector_holds() -> None:
    """RFC 8032, 7.1, test 2: seed, public key and signature of the one byte 0x72."""
    import base64

    from edgehemo.bundle.signatures import PrivateKey

    seed = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
    public = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    signature = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    key = PrivateKey(bytes.fromhex(seed), "rfc")
    assert key.public == PublicKey(bytes.fromhex(public), "rfc")
    record = json.loads(signature_text(b"\x72", key))
    assert base64.b64decode(record["signature"]).hex() == signature


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.data())
def test_any_changed_byte_is_noticed(manifest: bytes, data: st.DataObject) -> None:
    key = signing_key()
    text = signature_text(manifest, key).encode()
    assert check_signature(manifest, text, "b") == key.public
    changed = bytearray(manifest or b"\0")
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(BundleError, match="does not fit"):
        check_signature(bytes(changed) if manifest else b"\0", text, "b")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"\xff", b'{"schema": "edgehemo.signature/2"}'],
)
def test_a_signature_that_is_none_is_one_line(text: bytes) -> None:
    with pytest.raises(BundleError) as caught:
        check_signature(b"x", text, "b")
    assert "\n" not in str(caught.value)


def test_a_signature_with_a_damaged_value_is_refused() -> None:
    record = json.loads(signature_text(b"x", signing_key()))
    for value in ("", "####", "AAAA", 7):
        text = json.dumps({**record, "signature": value}).encode()
        with pytest.raises(BundleError, match="does not fit"):
            check_signature(b"x", text, "b")
    for missing in ("key", "signature", "algorithm"):
        text = json.dumps({k: v for k, v in record.items() if k != missing}).encode()
        with pytest.raises(BundleError, match="incomplete"):
            check_signature(b"x", text, "b")


def test_a_key_that_is_not_trusted_vouches_for_nothing(tmp_path: Path) -> None:
    private, public = new_key(tmp_path / "elsewhere", "stranger")
    bundle = small_bundle(tmp_path / "bundle", key=read_private_key(private))
    with pytest.raises(BundleError, match=f"{public.identifier}, which this device does not trust"):
        load_bundle(bundle)
    assert public.identifier not in {key.identifier for key in trusted_keys()}
    done = CliRunner().invoke(
        keys, ["trust", str(private.with_suffix(".pub"))], standalone_mode=False
    )
    assert done.exception is None, done.output
    assert load_bundle(bundle).signed_by == f"stranger ({public.identifier})"
    (own_key_folder() / f"{public.identifier}.pub").unlink()


def test_a_key_is_trusted_no_longer_once_it_is_removed(tmp_path: Path) -> None:
    for name in ("lab", "old"):
        private, _ = new_key(tmp_path / name, name)
        CliRunner().invoke(keys, ["trust", str(private.with_suffix(".pub"))], standalone_mode=False)
    before = {key.name: key for key in trusted_keys()}
    assert {"lab", "old"} <= set(before)
    result = CliRunner().invoke(keys, ["remove", before["old"].identifier], standalone_mode=False)
    assert result.return_value == 0 and before["old"].identifier in result.output
    assert {key.name for key in trusted_keys()} == set(before) - {"old"}
    assert (tmp_path / "old" / "old.key").is_file(), "the private half stays"
    with pytest.raises(UsageError, match="no trusted key is called 'old'"):
        CliRunner().invoke(keys, ["remove", "old"], standalone_mode=False, catch_exceptions=False)
    removed = CliRunner().invoke(keys, ["remove", "lab"], standalone_mode=False)
    assert removed.return_value == 0
    assert "lab" not in {key.name for key in trusted_keys()}


def test_a_name_of_two_keys_removes_neither(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        private, _ = new_key(tmp_path / folder, "twin")
        CliRunner().invoke(keys, ["trust", str(private.with_suffix(".pub"))], standalone_mode=False)
    twins = [key.identifier for key in trusted_keys() if key.name == "twin"]
    assert len(twins) == 2
    with pytest.raises(UsageError, match="2 trusted keys"):
        CliRunner().invoke(keys, ["remove", "twin"], standalone_mode=False, catch_exceptions=False)
    assert [key.identifier for key in trusted_keys() if key.name == "twin"] == twins
    for identifier in twins:
        CliRunner().invoke(keys, ["remove", identifier], standalone_mode=False)


def test_the_commands_make_and_list_keys(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        keys, ["new", "--out", str(tmp_path), "--name", "two"], standalone_mode=False
    )
    assert done.exception is None and str(tmp_path / "two.key") in done.output
    assert read_private_key(tmp_path / "two.key").line.split()[1] not in done.output
    mine = signing_key()
    listed = CliRunner().invoke(keys, ["list"], standalone_mode=False)
    assert mine.public.identifier in listed.output


def test_without_the_variable_keys_lie_in_the_system_and_with_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("EDGEHEMO_KEYS", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name)
    system, own = key_folders()
    assert system == Path("/etc/edgehemo/keys") and own.name == "keys"
    assert os.path.commonpath([own, Path.home()]) == str(Path.home())


def test_an_interrupted_key_is_finished_and_half_a_one_blocks_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("edgehemo.bundle.signatures.write_text_atomically", killed)
        with pytest.raises(Killed):
            new_key(tmp_path, "lab")
    private = (tmp_path / "lab.key").read_text()
    path, public = new_key(tmp_path, "lab")
    assert path.read_text() == private and (tmp_path / "lab.pub").read_text() == public.line
    with pytest.raises(UsageError, match="exists already"):
        new_key(tmp_path, "lab")
    for length in (0, 5, 30, len(private) // 2):
        (tmp_path / "half.key").write_text(private[:length])
        (tmp_path / "half.pub").unlink(missing_ok=True)
        path, _ = new_key(tmp_path, "half")
        assert read_private_key(path).public.line == (tmp_path / "half.pub").read_text()
    (tmp_path / "other.key").write_text("somebody's own key")
    with pytest.raises(UsageError):
        new_key(tmp_path, "other")
    assert (tmp_path / "other.key").read_text() == "somebody's own key"


def test_a_private_half_is_its_owner_s_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path, _ = new_key(tmp_path, "lab")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
