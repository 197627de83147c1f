"""Exported artefacts on 64-bit ARM: the same answers as where they were made.

Emulated processors: function and parity only. Their times say nothing about any board.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgehemo.bundle.bundle import SHIPPED_BUNDLE
from edgehemo.inference import RUNTIMES
from tests.lab import arm64_root

# Building the root takes a minute, an emulated ResNet18 some seconds.
pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
RUN_TIMEOUT_S = 600.0
FORMATS = tuple(RUNTIMES)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed bundle of one small model at every precision; its keys beside it, in `keys`."""
    pytest.importorskip("torch", reason='needs pip install ".[host]"')
    pytest.importorskip("litert_torch", reason='needs pip install ".[host]"')
    from tests.support.small_export import export_small

    folder = tmp_path_factory.mktemp("arm64")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEHEMO_KEYS", str(folder / "keys"))
        return export_small(folder, FORMATS)


@pytest.mark.host
@pytest.mark.parametrize("board", list(arm64_root.PROCESSORS))
def test_each_format_and_precision_answers_as_where_it_was_made(board: str, small: Path) -> None:
    keys = small.with_name("keys")
    record = arm64_root.answers(small, keys, board, timeout_s=RUN_TIMEOUT_S)
    assert record["machine"] == "aarch64" and record["trust"] == "signed"
    rows = record["artefacts"]
    assert {(row["format"], row["precision"]) for row in rows} == {
        (name, precision) for name in FORMATS for precision in ("fp32", "fp16", "int8")
    }
    assert arm64_root.wrong(board, rows) == []
    for row in rows:
        if row["gate"] == "pass":
            assert row["difference"] < 0.1, row
        else:
            assert "gives 0 answers" in row["problem"], row


def test_the_shipped_bundle_answers_as_where_it_was_made(tmp_path: Path) -> None:
    board = next(iter(arm64_root.PROCESSORS))
    keys = tmp_path / "keys"
    keys.mkdir()
    record = arm64_root.answers(SHIPPED_BUNDLE, keys, board, timeout_s=RUN_TIMEOUT_S)
    assert record["machine"] == "aarch64" and record["trust"] == "shipped"
    assert record["artefacts"]
    assert arm64_root.wrong(board, record["artefacts"]) == []
