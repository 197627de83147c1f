"""``[[receivers]]`` of the device configuration: refused with all problems at once, or usable."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.device.doctor import examine
from edgehemo.device.receiver_files import (
    ReceiverFileError,
    credentials_of,
    problems_of,
)
from edgehemo.device.receivers import (
    DEFAULT_PORTS,
    MAX_RECEIVERS,
    RECEIVER_KINDS,
    Receiver,
    ReceiverKind,
)
from edgehemo.errors import DeviceError
from tests.support.receivers import receiver, self_signed

TOP = 'schema = "edgehemo.device/1"\nname = "t"\nboard = "workstation"\n'


def configured(*tables: str) -> DeviceConfiguration:
    text = TOP + "".join(f"[[receivers]]\n{table}\n" for table in tables)
    return DeviceConfiguration.parse(text, "device.toml")


def table(name: str = "a", kind: str = "fhir", address: str = "https://c.example/fhir") -> str:
    return f'name = "{name}"\nkind = "{kind}"\naddress = "{address}"'


def test_a_device_has_no_receivers_unless_they_are_named() -> None:
    assert configured().receivers == ()


@pytest.mark.parametrize("kind", RECEIVER_KINDS)
def test_the_example_of_every_kind_is_one(kind: ReceiverKind) -> None:
    facts = RECEIVER_KINDS[kind]
    (found,) = configured(table(kind=kind, address=facts.example)).receivers
    assert found.takes == (facts.takes[0] if facts.takes else None)
    assert all(scheme in DEFAULT_PORTS for scheme in facts.schemes)


def test_what_a_receiver_gets_unless_it_says_otherwise() -> None:
    (found,) = configured(table()).receivers
    assert (found.withheld, found.simulated, found.identified) == ("report", False, True)
    assert (found.host, found.port, found.encrypted) == ("c.example", 443, True)
    (listener,) = configured(table(kind="mllp", address="mllp://10.0.0.5")).receivers
    assert (listener.host, listener.port, listener.encrypted) == ("10.0.0.5", 2575, False)


def test_all_problems_are_told_at_once_with_their_keys() -> None:
    with pytest.raises(DeviceError) as told:
        configured(
            table(address="http://c.example/fhir") + '\nformat = "json"\nclient_key = "k"',
            table("b", "mllp", "mllp://10.0.0.5/x?y") + '\ncredentials = "f"\ncertificate = "c"',
            table("c") + '\nnmae = "x"\ntimeout_s = 0',
        )
    lines = str(told.value).splitlines()
    for place, words in (
        ("receivers[0].address", "without TLS"),
        ("receivers[0].format", "takes fhir-r4"),
        ("receivers[0].client_key", "together"),
        ("receivers[1].address", "after ? or #"),
        ("receivers[1].address", "ends with the port"),
        ("receivers[1].credentials", "knows none"),
        ("receivers[1].certificate", "mllps://"),
        ("receivers[2].nmae", "did you mean name?"),
        ("receivers[2].timeout_s", ">= 1"),
    ):
        assert any(f"{place}: " in line and words in line for line in lines), (place, words)
    assert len(lines) == 9


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("fhir", "c.example"), ("fhir", "https://"), ("fhir", "ftp://c.example"),
        ("fhir", "https://u:p@c.example"), ("fhir", "https://c.example:0"),
        ("fhir", "https://c.example:99999"), ("fhir", "https://[::1"),
        ("laboratory", "http://192.168.1.5"), ("mqtt", "mqtt://192.168.1.5"),
        ("mllp", "10.0.0.5:2575"), ("folder", "relative/folder"), ("folder", "label:a/b"),
        ("folder", "label:"),
    ],
)  # fmt: skip
def test_addresses_that_are_none(kind: str, address: str) -> None:
    with pytest.raises(DeviceError, match=r"receivers\[0\]\.address"):
        configured(table(kind=kind, address=address))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.5.5.5", "[::1]"])
def test_this_machine_itself_is_spoken_to_without_tls(host: str) -> None:
    configured(table(kind="laboratory", address=f"http://{host}:8080"))


def test_words_in_the_place_of_numbers_are_for_hl7() -> None:
    configured(table(kind="mllp", address="mllp://10.0.0.5") + '\nwithheld = "text"')
    configured(table(kind="folder", address="/s") + '\nformat = "hl7-2.3.1"\nwithheld = "text"')
    for given in (
        table(),
        table(kind="folder", address="/s"),
        table(kind="mqtt", address="mqtt://localhost"),
    ):
        with pytest.raises(DeviceError, match="text is of HL7 only"):
            configured(given + '\nwithheld = "text"')


def test_names_are_each_receivers_own() -> None:
    with pytest.raises(DeviceError, match=r"receivers\[1\]\.name: another receiver has it"):
        configured(table(), table(kind="folder", address="/srv"))
    for name in ("", "A", "a b", "x" * 33, "-a"):
        with pytest.raises(DeviceError, match="name"):
            configured(table(name))
    with pytest.raises(DeviceError, match="receivers"):
        configured(*(table(f"r{number}") for number in range(MAX_RECEIVERS + 1)))


# -- files ------------------------------------------------------------------------------------


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def with_credentials(path: Path) -> Receiver:
    return receiver(credentials=str(path))


def test_credentials_are_a_token_or_a_name_and_password(tmp_path: Path) -> None:
    file = written(tmp_path / "c", 'token = "abc"')
    found = credentials_of(with_credentials(file))
    assert found is not None and found.token == "abc"
    assert "abc" not in repr(found)
    written(file, 'user = "u"\npassword = "p"')
    found = credentials_of(with_credentials(file))
    assert found is not None and (found.user, found.password) == ("u", "p")
    assert credentials_of(receiver()) is None


@pytest.mark.parametrize(
    "text",
    ["", "abc", 'token = ""', "token = 1", 'user = "u"', 'token = "a"\nuser = "u"',
     'token = "a"\nuser = "u"\npassword = "p"', 'token = "a"\nmore = 1', 'token = "a\\nb"'],
)  # fmt: skip
def test_credentials_that_are_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(ReceiverFileError):
        credentials_of(with_credentials(written(tmp_path / "c", text)))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o666])
def test_credentials_that_others_may_read_are_refused(mode: int, tmp_path: Path) -> None:
    file = written(tmp_path / "c", 'token = "abc"', mode)
    with pytest.raises(ReceiverFileError, match="chmod 600") as told:
        credentials_of(with_credentials(file))
    assert "abc" not in str(told.value)


def test_a_package_that_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert [len(problems_of(each)) for each in (
        receiver(), receiver(kind="mqtt", address="mqtt://localhost"),
        receiver(kind="folder", address="/srv"),
    )] == [1, 1, 0]  # fmt: skip
    assert "httpx is not installed" in problems_of(receiver())[0]


def test_the_doctor_says_who_gets_results_and_which_file_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "device.toml"
    monkeypatch.setenv("EDGEHEMO_DEVICE", str(device))
    device.write_text(TOP)
    assert "sent to nobody" in examine().of("receivers").detail
    named = f"[[receivers]]\n{table('lab', 'laboratory', 'https://l.example')}\n"
    device.write_text(TOP + named)
    assert examine().of("receivers").status == "ok"
    device.write_text(TOP + named + f'credentials = "{tmp_path / "missing"}"\n')
    found = examine().of("receivers")
    assert (found.status, found.code) == ("fail", "RECEIVER_FILES_WRONG")
    assert "lab: " in found.detail and "No such file" in found.detail and found.action


def test_problems_with_files_are_all_told(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    key.chmod(0o600)
    good = receiver(
        certificate=str(certificate), client_certificate=str(certificate), client_key=str(key)
    )
    assert problems_of(good) == []
    bad = receiver(
        certificate=str(written(tmp_path / "no.pem", "no certificate")),
        credentials=str(tmp_path / "missing"),
    )
    assert len(problems_of(bad)) == 2
    key.chmod(0o644)
    assert "chmod 600" in problems_of(good)[0]
    folder = receiver(kind="folder", address="/srv")
    assert problems_of(folder) == []
    for odd in (tmp_path, written(tmp_path / "big", "x" * 300_000)):
        assert len(problems_of(receiver(certificate=str(odd), credentials=str(odd)))) == 2
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "bytes").chmod(0o600)
    assert "UTF-8" in problems_of(with_credentials(tmp_path / "bytes"))[0]
