"""Parts of a device profile: valid, laid over one another, problems told with their line."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import DeviceError
from edgehemo_firmware.composing import (
    Origin,
    compose,
    kept_changes,
    leaves,
    parsed_setting,
    toml_text,
    with_changes,
)
from edgehemo_firmware.parts import (
    PART_KINDS,
    board_of,
    parsed,
    read_part,
    read_parts,
    shipped_names,
)

SITE = 'schema = "edgehemo.device-part/1"\nkind = "site"\ntitle = "x"\n'
NAMES = shipped_names()
BOARDS = [name for name, kind in NAMES.items() if kind == "board"]
OTHERS = [name for name, kind in NAMES.items() if kind != "board"]


def problems_of(parts: tuple[str, ...], settings: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(DeviceError) as caught:
        compose(read_parts(parts), settings)
    return str(caught.value).splitlines()


def test_every_kind_has_parts_and_every_part_says_what_it_is() -> None:
    assert set(NAMES.values()) == set(PART_KINDS)
    for name, kind in NAMES.items():
        content = read_part(name).content
        assert content.kind == kind
        assert content.title
        assert bool(content.runs) == (kind == "board"), "a board says what runs there"


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("other", OTHERS)
def test_every_part_fits_on_every_board(board: str, other: str) -> None:
    composed = compose(read_parts([board, other]))
    assert DeviceConfiguration.parse(composed.text, "x") == composed.device
    for key, origin in composed.origins.items():
        folder, _, file = origin.file.partition("/")
        assert folder in {f"{kind}s" for kind in PART_KINDS}
        line = _lines(file.removesuffix(".toml"))[origin.line - 1]
        name = key.rpartition(".")[2]
        assert line.strip().startswith((f"{name} =", f"[[device.{name}")), (key, line)


def _lines(name: str) -> list[str]:
    from importlib.resources import files

    folder = files("edgehemo_firmware").joinpath("parts", f"{NAMES[name]}s", f"{name}.toml")
    return folder.read_text("utf-8").splitlines()


def test_a_later_part_lies_over_an_earlier_one_and_a_setting_over_all(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(SITE + '[device.kiosk]\nlanguage = "pt"\n[device.inference]\nthreads = 1\n')
    composed = compose(
        read_parts(["raspberry_pi_5", "example_clinic", str(site)]), ["kiosk.unit=g/L"]
    )
    kiosk = composed.device.kiosk
    assert (kiosk.language, kiosk.unit, kiosk.altitude_m) == ("pt", "g/L", 1400)
    assert composed.device.inference.threads == 1
    assert str(composed.origins["kiosk.language"]) == f"{site} line 5"
    assert str(composed.origins["kiosk.altitude_m"]) == "sites/example_clinic.toml line 11"
    assert str(composed.origins["kiosk.unit"]) == "--set"


def test_a_board_without_room_has_no_browser_whatever_its_screen() -> None:
    assert compose(read_parts(["raspberry_pi_zero_2_w", "touch_7_800x480"])).system.screen is False
    assert compose(read_parts(["raspberry_pi_5", "touch_7_800x480"])).system.screen is None
    assert compose(read_parts(["raspberry_pi_5", "no_screen"])).system.screen is False


def test_all_that_is_wrong_with_the_names_is_told_at_once(tmp_path: Path) -> None:
    found = problems_of(
        ("raspbery_pi_5", "hq_camera", "usb_eyepiece", str(tmp_path / "no.toml"), "xyz")
    )
    assert len(found) == 4
    assert found[0].startswith("no part is called 'raspbery_pi_5'; did you mean raspberry_pi_5?")
    assert "no.toml: cannot be read" in found[1]
    assert found[2].startswith("no part is called 'xyz'; there are ")
    assert found[3] == (
        "a device has one camera: hq_camera and usb_eyepiece are given; leave one out"
    )


def test_all_that_is_wrong_with_the_values_is_told_with_file_and_line(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text(
        SITE + '[device.kiosk]\nlanguage = "xx"\nlangage = "en"\n[device.screening]\n'
        "fields_wanted = 0\n"
    )
    found = problems_of((str(site),), ("camera.gain=99999", "nonsense"))
    assert any(line.startswith("--set nonsense: write it as") for line in found)
    assert "no board is among the parts: name one, such as raspberry_pi_5" in found
    told = {line.partition(": ")[0]: line for line in found}
    assert "kiosk.language" in told[f"{site} line 5"]
    assert "not a known key" in told[f"{site} line 6"]
    assert "fields_wanted" in told[f"{site} line 8"]
    assert "camera.gain" in told["--set"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = ", "is not valid TOML"),
        (SITE.replace("site", "sight"), "line 2: kind"),
        (SITE + "colour = 3\n", "line 4: colour: is not a known key"),
        (SITE + '[system]\nconfig_txt = ["dtoverlay=imx477; rm -rf"]\n', "config_txt"),
        (SITE + '[system]\npackages = ["--allow-unauthenticated"]\n', "packages"),
    ],
)
def test_a_part_that_is_none_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(DeviceError, match=r"mine\.toml") as caught:
        parsed("mine.toml", "mine.toml", text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("model", "board"),
    [
        ("Raspberry Pi 5 Model B Rev 1.0", "raspberry_pi_5"),
        ("Raspberry Pi Compute Module 4 Rev 1.1", "raspberry_pi_4"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "raspberry_pi_zero_2_w"),
        ("Some other board", None),
        ("", None),
    ],
)
def test_a_board_is_known_by_what_it_calls_itself(model: str, board: str | None) -> None:
    assert board_of(model) == board


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("kiosk.language=fr", "fr"),
        ("kiosk.altitude_m=1400", 1400),
        ('kiosk.site = "A-1"', "A-1"),
        ("screening.anaemia_screen=true", True),
        ('kiosk.names=["a.b"]', ["a.b"]),
    ],
)
def test_a_setting_is_toml_or_text(text: str, value: Any) -> None:
    assert parsed_setting(text)[1] == value


PLAIN = st.one_of(
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
KEYS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
SECTION = st.dictionaries(KEYS, st.one_of(PLAIN, st.lists(PLAIN, max_size=3)), max_size=4)
VALUES = st.dictionaries(KEYS, st.one_of(PLAIN, SECTION), max_size=5).map(
    lambda values: {"top": 1, **values, "tables": [{"name": "a"}, {"name": "b"}]}
)


@given(VALUES)
def test_what_is_written_is_read_again(values: dict[str, Any]) -> None:
    kept = {key: value for key, value in values.items() if value != {}}
    assert tomllib.loads(toml_text(values)) == kept


@given(VALUES, VALUES, VALUES)
def test_what_a_person_changed_stays_and_all_else_is_new(
    before: dict[str, Any], standing: dict[str, Any], new: dict[str, Any]
) -> None:
    origins = {k: Origin(part="x", file="x", value=v) for k, v in leaves(before)}
    changes = kept_changes(origins, standing)
    old, now = dict(leaves(before)), dict(leaves(standing))
    assert set(changes) == {k for k in {**old, **now} if old.get(k, ...) != now.get(k, ...)}
    assert kept_changes(origins, before) == {}
    if set(before) == set(standing) == set(new):
        merged = dict(leaves(with_changes(new, changes)))
        for key, value in changes.items():
            assert merged.get(key) == value
