"""What a distribution requires, read from lines of its metadata."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgehemo.device.requirements import required, this_environment

HERE = {
    **this_environment(),
    "python_version": "3.11",
    "python_full_version": "3.11.7",
    "sys_platform": "linux",
    "platform_machine": "aarch64",
}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("numpy>=1.26", "numpy"),
        ("opencv-python-headless (>=4.10)", "opencv-python-headless"),
        ("ruamel.yaml", "ruamel.yaml"),
        ("uvicorn[standard]>=0.30,<1", "uvicorn"),
        ("thing @ https://example.org/a;b.whl", "thing"),
        ("thing @ https://example.org/a.whl ; python_version >= '3.11'", "thing"),
        ("  spaced  ; sys_platform == 'linux'", "spaced"),
        ('tool; python_version < "3.12"', "tool"),
        (
            'tool; python_version ~= "3.10" and (os_name == "x" or sys_platform in "linux,x")',
            "tool",
        ),
        ('tool; python_full_version == "3.11.*"', "tool"),
        ('tool; "3.9" <= python_version', "tool"),
        ('tool; platform_machine not in "x86_64 armv7l"', "tool"),
        ('tool; python_version == "3.11.0"', "tool"),
        ("tool; what is this", "tool"),
        ("tool; (python_version > '3'", "tool"),
        ("tool; unheard_of == 'x'", "tool"),
        ("tool; python_version < '3' nonsense", "tool"),
    ],
)
def test_required_here(line: str, name: str) -> None:
    assert required([line], HERE) == (name,)


@pytest.mark.parametrize(
    "line",
    [
        'torch>=2.9; extra == "host"',
        "torch>=2.9 ; extra=='host'",
        'torch; (sys_platform == "linux") and extra == "host"',
        'torch; extra == "host" or extra == "studies"',
        'tomli; python_version < "3.11"',
        'tomli; python_version < "3.9"',
        'thing; python_full_version != "3.11.*"',
        'thing; python_version ~= "3.12"',
        "thing @ https://example.org/a.whl ; sys_platform == 'win32'",
        "",
        "   ",
        "# no requirement",
    ],
)
def test_not_required_here(line: str) -> None:
    assert required([line], HERE) == ()


def test_names_stand_once_in_their_order() -> None:
    lines = ["b", 'a; extra == "x"', "a>=1", "b<2"]
    assert required(lines) == ("b", "a")


@given(st.text(max_size=60), st.text(max_size=60))
def test_nothing_written_there_raises(before: str, after: str) -> None:
    required([before, f"{before};{after}", f"tool; {after}"])


def test_what_this_project_requires_is_what_it_declares() -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
    installed = importlib.metadata.requires("edgehemo")
    assert installed is not None
    assert required(installed) == required(declared["project"]["dependencies"])
    assert "pynacl" in required(installed) and "torch" not in required(installed)
