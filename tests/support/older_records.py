"""Records as an earlier version of edgehemo left them."""

from __future__ import annotations

import pytest

from edgehemo.images.frame import Frame
from edgehemo.records import recording, schema
from edgehemo.records.folder import RecordsFolder
from edgehemo.records.store import Writer
from edgehemo.records.versions import change
from tests.support.screening_fakes import TruthFinder
from tests.support.stored import stored


def older_store(
    folder: RecordsFolder,
    version: int,
    frames: list[Frame],
    fakes: TruthFinder,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """A store of an earlier version with a result that was signed; the result's identifier."""
    known = schema.migrations()[:version]
    with monkeypatch.context() as patch:
        patch.setattr(schema, "migrations", lambda: known)
        if not any("CREATE TABLE measured " in text for text in known):
            patch.setattr(recording, "keep_measured", lambda *_: None)
        with Writer(folder) as writer:
            done = stored(writer, frames, fakes)
            assert done is not None
            change(writer, done.result_id, "signed", by="sup")
    return done.result_id
