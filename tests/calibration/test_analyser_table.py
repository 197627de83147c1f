"""The analyser's table as people write it: names, units, signs; and rows that no one's blood is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehemo import cli
from edgehemo.errors import CalibrationError, TableError
from edgehemo_calibration.analyser.columns import columns_of, plain_name
from edgehemo_calibration.analyser.pairs import Pair, read_pairs
from edgehemo_calibration.analyser.rows import impossible_indices


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(1, 10):
        (folder / f"S{number}_1.png").write_bytes(b"x")
    return folder


def read(pictures: Path, text: str) -> tuple[Pair, ...]:
    path = pictures.parent / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return read_pairs(path, pictures)


def fault(pictures: Path, text: str) -> str:
    with pytest.raises(CalibrationError) as caught:
        read(pictures, text)
    return str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "sample,hgb_g_per_l,hct_l_per_l,rbc_1e12_per_l\nS1,121.5,0.362,4.21\n",
        "Sample,HGB_g_per_L,Hct_L_per_L,RBC_1e12_per_L\nS1,121.5,0.362,4.21\n",
        "sample;hgb_g_per_l;hct_l_per_l;rbc_1e12_per_l\nS1;121,5;0,362;4,21\n",
        "sep=;\nsample;hgb_g_per_l;hct_l_per_l;rbc_1e12_per_l\nS1;121,5;0,362;4,21\n",
        "\ufeffsample;hgb_g_per_l;hct_l_per_l;rbc_1e12_per_l\r\nS1;121.5;0.362;4.21\r\n",
        "sample\thgb_g_per_l\thct_l_per_l\trbc_1e12_per_l\nS1\t121.5\t0.362\t4.21\n",
        "sample\thgb_g_per_l\thct_l_per_l\trbc_1e12_per_l\nS1\t121,5\t0,362\t4,21\n",
        "sample,hgb_g_per_dl,hct_percent,rbc_1e6_per_ul\nS1,12.15,36.2,4.21\n",
        "sample;HGB (g/dL);HCT [%];RBC (10^6/µL)\nS1;12,15;36,2;4,21\n",
        "sample,Haemoglobin g/L,Haematocrit %,RBC 10^12/L\nS1,121.5,36.2,4.21\n",
        "sample,hgb_g_per_dl,hct_l_per_l,rbc_1e12_per_l\nS1,12.150000000000002,0.36200000000000004,"
        "4.21\n",
    ],
)  # fmt: skip
def test_the_same_values_are_read_however_they_are_written(pictures: Path, text: str) -> None:
    (pair,) = read(pictures, text)
    assert pair.reference == {"hgb_g_per_l": 121.5, "hct_l_per_l": 0.362, "rbc_1e12_per_l": 4.21}


def test_what_a_spreadsheet_writes_of_a_number_is_read(pictures: Path) -> None:
    (pair,) = read(pictures, "sample,hgb_g_per_l\nS1,27.900000000000002\n")
    assert pair.reference == {"hgb_g_per_l": 27.9}
    (pair,) = read(pictures, "sample,hgb_mmol_per_l\nS1,7.5\n")
    assert pair.reference["hgb_g_per_l"] == pytest.approx(120.855)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("sample,hgb_g_per_l,hct", "column 'hct' is not read: it does not say a known unit of HCT"),
        ("sample,HGB,hct_l_per_l", "Name it hgb_g_per_l or hgb_g_per_dl"),
        ("sample,hgb_g_per_l,rbc_x", "column 'rbc_x' is not read"),
        ("samples,image,hgb_g_per_l", "column 'samples' is not read: did you mean 'sample'?"),
        ("sample,hgb_g_per_l,hbg_g_per_l", "did you mean 'hgb_g_per_l'?"),
        ("sample,hgb_g_per_l,HGB_g_per_dl", "'hgb_g_per_l' and 'HGB_g_per_dl' hold the same"),
        ("sample,Sample,hgb_g_per_l", "column 'Sample' occurs twice"),
    ],
)
def test_a_column_near_a_known_one_is_a_fault(pictures: Path, header: str, said: str) -> None:
    row = ",".join(["S1", "120", "0.4", "4"][: header.count(",") + 1])
    assert said in fault(pictures, f"{header}\n{row}\n")


def test_other_columns_of_a_blood_count_are_passed_over() -> None:
    names = ["sample", "hgb_g_per_l", "cohort", "mcv_fl", "mch_pg", "mchc_g_per_dl", "note",
             "wbc_1e9_per_l", "plt_1e9_per_l", "RDW %"]  # fmt: skip
    columns, faults = columns_of(names)
    assert not faults
    assert [column.measurand for column in columns.measured] == ["hgb_g_per_l"]
    assert plain_name(" RBC (10^12/L) ") == "rbc_10_12_l"


def test_a_row_that_is_no_ones_blood_is_named(pictures: Path) -> None:
    """HGB of two tubes exchanged: 177 g/L beside a haematocrit of 0.299."""
    header = "sample,hgb_g_per_l,hct_l_per_l,rbc_1e12_per_l"
    said = fault(pictures, f"{header}\nS1,177,0.299,4.37\nS2,101,0.504,5.89\n")
    assert "row 2: MCHC 592 g/L (HGB 177 / HCT 0.299) is outside 220 to 380" in said
    assert "a tube is mixed up" in said
    assert "row 3: MCHC 200 g/L" in said


@pytest.mark.parametrize(
    ("hgb", "hct", "rbc", "wrong"),
    [
        (150.0, 0.45, 5.0, ""),
        (45.0, 0.18, 3.6, ""),  # severe iron deficiency: MCV 50, MCH 12.5, MCHC 250
        (60.0, 0.18, 1.3, ""),  # megaloblastic: MCV 138, MCH 46
        (150.0, 0.45, 2.9, "MCV"),
        (150.0, 0.70, 5.0, "MCHC"),
        (30.0, 0.13, 2.6, "MCH "),
    ],
)  # fmt: skip
def test_disease_is_not_an_error(hgb: float, hct: float, rbc: float, wrong: str) -> None:
    found = impossible_indices({"hgb_g_per_l": hgb, "hct_l_per_l": hct, "rbc_1e12_per_l": rbc})
    assert bool(found) == bool(wrong)
    assert all(item.startswith(wrong) for item in found[:1])
    assert impossible_indices({"hgb_g_per_l": hgb}) == []


def test_real_panels_pass(data_root: Path) -> None:
    pairs = read_pairs(data_root / "anerbc" / "pairs.csv", data_root / "anerbc" / "images")
    assert len(pairs) == 8


def test_faults_are_told_on_lines_of_their_own(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pictures.parent / "pairs.csv"
    table.write_text("sample,hgb_g_per_l\nS1,12\nS2,\nS8x,100\n")
    arguments = ["calibrate", "analyser", "--images", str(pictures), "--pairs", str(table)]
    assert cli.run([*arguments, "--out", str(pictures.parent / "p.json")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"edgehemo: {table}: 3 faults"
    assert [line.split(":")[1].strip() for line in lines[1:]] == ["row 2", "row 3", "row 4"]
    assert "name the column hgb_g_per_dl" in lines[1]


def test_hundreds_of_faults_are_not_all_told() -> None:
    error = TableError("t.csv", [f"row {n}: wrong" for n in range(1000)])
    assert len(error.lines) == 202 and error.lines[-1].strip() == "and 800 more"
    assert str(error).endswith("and 980 more") and "\n" not in str(error)


def test_too_few_rows_are_said_before_anything_is_measured(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from edgehemo_calibration.commands.calibrate import calibrate

    def measured(*_: object) -> None:
        raise AssertionError("measured in vain")

    monkeypatch.setattr("edgehemo_calibration.commands.analyser._measured", measured)
    rows = "".join(f"S{n},{100 + n}\n" for n in range(1, 8))
    (pictures.parent / "pairs.csv").write_text(f"sample,hgb_g_per_l\n{rows}")
    arguments = ["analyser", "--images", pictures, "--pairs", pictures.parent / "pairs.csv"]
    done = CliRunner().invoke(
        calibrate,
        [*map(str, arguments), "--out", str(pictures.parent / "p.json")],
        standalone_mode=False,
    )
    assert isinstance(done.exception, CalibrationError)
    assert "7 samples are too few" in str(done.exception)
