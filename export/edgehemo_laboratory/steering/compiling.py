"""Words as translators write them (``.po``) become what devices read (``.mo``)."""

from __future__ import annotations

import io

from edgehemo_laboratory.errors import LaboratoryError


def compiled(content: bytes, language: str, origin: str) -> bytes:
    """The ``.mo`` file of a ``.po`` file; what is marked as fuzzy has no words.

    LaboratoryError for what is none, or where Babel is not installed.
    """
    try:
        from babel.core import UnknownLocaleError  # noqa: PLC0415
        from babel.messages.mofile import write_mo  # noqa: PLC0415
        from babel.messages.pofile import PoFileError, read_po  # noqa: PLC0415
    except ImportError as error:
        raise LaboratoryError(
            f"reading .po files needs {error.name}: install the extra laboratory, or give a .mo"
        ) from None
    try:
        catalogue = read_po(io.BytesIO(content), locale=language, abort_invalid=True)
        made = io.BytesIO()
        write_mo(made, catalogue)
    except (PoFileError, UnknownLocaleError, ValueError, KeyError) as error:
        raise LaboratoryError(f"{origin}: is no .po file of {language} ({error})") from None
    return made.getvalue()
