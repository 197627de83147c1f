"""Under what licences a package comes, and which of them do not ship.

The metadata of an installed package says it in one of three ways: an SPDX expression (PEP 639),
Trove classifiers, or words of its own. Where it is silent, the title of its licence file does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import Distribution
from typing import Any

from license_expression import (
    ExpressionError,
    LicenseSymbol,
    LicenseWithExceptionSymbol,
    Licensing,
    get_spdx_licensing,
)

from edgehemo.errors import WithheldError

# Families that ask that the whole program be published under them. The LGPL, of a library that
# anyone may replace, is none of them.
REFUSED = ("AGPL-", "GPL-", "SSPL-")
# A licence with one of these lets the library be part of any program.
FREEING_EXCEPTIONS = ("GCC-exception-", "Classpath-exception-", "Linux-syscall-note",
                      "Bison-exception-", "Autoconf-exception-")  # fmt: skip
# Trove classifiers and words that packages without an expression use, as SPDX writes them. A
# package whose words are not here is told as unknown, and a person looks.
SPDX_OF: Mapping[str, str] = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: GNU Affero General Public License v3": "AGPL-3.0-only",
    "License :: OSI Approved :: GNU General Public License v2 (GPLv2)": "GPL-2.0-only",
    "License :: OSI Approved :: GNU General Public License v3 (GPLv3)": "GPL-3.0-only",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "3-Clause BSD License": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
}
# First lines of licence files, as SPDX writes the licence.
TITLES: Mapping[str, str] = {"The MIT License (MIT)": "MIT", "MIT License": "MIT"}


class LicenceError(WithheldError):
    """Something in the lock comes under a licence that does not ship, or that is not known."""


def licence_of(distribution: Distribution) -> str | None:
    """The SPDX expression of an installed package; None where its words are not understood."""
    # The protocol of metadata has `get` from Python 3.12 on; the messages behind it always had.
    fields: Any = distribution.metadata
    if (stated := _parsed(fields.get("License-Expression") or "")) is not None:
        return str(stated)
    words = " ".join((fields.get("License") or "").split())
    # An expression in the words says more than classifiers, which know no "and".
    if (spoken := _parsed(SPDX_OF.get(words, words))) is not None:
        return str(spoken)
    classified = [SPDX_OF[each] for each in fields.get_all("Classifier") or () if each in SPDX_OF]
    if classified:
        return " OR ".join(dict.fromkeys(classified))
    return _titled(distribution)


def _titled(distribution: Distribution) -> str | None:
    """What the one licence file is titled."""
    fields: Any = distribution.metadata
    named = {*(fields.get_all("License-File") or ())}
    found = [file for file in distribution.files or () if file.name in named]
    if len(found) != 1:
        return None
    lines = found[0].read_text("utf-8").strip().splitlines()
    return TITLES.get(lines[0].strip()) if lines else None


def ships(expression: str) -> bool:
    """Whether one may ship what comes under an SPDX expression, by one of its alternatives."""
    parsed = _parsed(expression)
    return parsed is not None and _allowed(parsed)


def _allowed(parsed: Any) -> bool:
    if isinstance(parsed, LicenseWithExceptionSymbol):
        freed = parsed.exception_symbol.key.startswith(FREEING_EXCEPTIONS)
        return freed or _allowed(parsed.license_symbol)
    if isinstance(parsed, LicenseSymbol):
        return not parsed.key.startswith(REFUSED)
    parts = [_allowed(part) for part in parsed.args]
    return any(parts) if parsed.operator.strip() == "OR" else all(parts)


def _parsed(expression: str) -> Any:
    """The expression taken apart; None where it is empty or holds what SPDX has no name for."""
    try:
        return _spdx().parse(expression, validate=True)
    except ExpressionError:
        return None


@cache
def _spdx() -> Licensing:
    return get_spdx_licensing()
