"""What this processor can do with bytes, as the system tells it.

An int8 network is quick where the processor multiplies and adds bytes in one instruction, and may
be slower than its float32 where it does not.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path
from typing import Literal

CPU_INFO = Path("/proc/cpuinfo")
Family = Literal["x86", "arm", "other"]
_FAMILY_OF_MACHINE: dict[str, Family] = {
    "x86_64": "x86",
    "amd64": "x86",
    "i686": "x86",
    "aarch64": "arm",
    "arm64": "arm",
    "armv7l": "arm",
    "armv8l": "arm",
}
# By family: the line of /proc/cpuinfo that names what it can do, and the names of dot products of
# bytes: VNNI in its two widths, ASIMD's.
_LINE: dict[Family, str] = {"x86": "flags", "arm": "features"}
_DOT_PRODUCTS: dict[Family, frozenset[str]] = {
    "x86": frozenset({"avx512_vnni", "avx_vnni"}),
    "arm": frozenset({"asimddp"}),
}


def family() -> Family:
    """Which instructions this machine has."""
    return _FAMILY_OF_MACHINE.get(platform.machine().lower(), "other")


@lru_cache(maxsize=1)
def byte_dot_products() -> bool | None:
    """Whether this processor has dot products of bytes; None where the system does not tell."""
    own = family()
    if own not in _LINE:
        return None
    try:
        text = CPU_INFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, values = line.partition(":")
        if name.strip().lower() == _LINE[own]:
            return bool(_DOT_PRODUCTS[own] & set(values.split()))
    return None


def saturates_products() -> bool:
    """Whether this processor saturates products of unsigned and signed bytes: x86 without VNNI.

    Where the system does not tell, an x86 processor is taken to.
    """
    return family() == "x86" and not byte_dot_products()
