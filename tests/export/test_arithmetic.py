"""Which arithmetic a training runs in."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="needs the [host] extra")

import torch

from edgehemo_export.training.arithmetic import flushed_denormals, mixed_precision, names_bf16

pytestmark = pytest.mark.host

DENORMAL = torch.finfo(torch.float32).smallest_normal / 4


@pytest.mark.parametrize(
    ("cpu_info", "able"),
    [
        ("flags\t\t: fpu avx2 fma avx512f avx512_bf16\n", True),
        ("Features\t: fp asimd bf16 i8mm\n", True),
        ("flags\t\t: fpu avx2 fma avx512f\n", False),
        ("model name\t: a bf16 processor\n", False),
        ("", False),
    ],
)
def test_bf16_is_read_off_the_processors_flags(cpu_info: str, able: bool) -> None:
    assert names_bf16(cpu_info) is able


def test_a_processor_without_bf16_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, x = torch.nn.Linear(4, 4), torch.ones(1, 4)
    for able, wanted in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(
            "edgehemo_export.training.arithmetic.cpu_has_bf16", lambda able=able: able
        )
        with mixed_precision(torch.device("cpu")):
            assert layer(x).dtype == wanted


def test_denormals_are_zero_inside_and_themselves_after() -> None:
    small = torch.tensor([DENORMAL])
    assert (small * 1.0).item() > 0
    with flushed_denormals(), flushed_denormals():
        assert (small * 1.0).item() == 0
    assert (small * 1.0).item() > 0
    with pytest.raises(ValueError, match="stops"), flushed_denormals():
        raise ValueError("stops")
    assert (small * 1.0).item() > 0
