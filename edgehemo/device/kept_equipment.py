"""Opens the bundle and the profile that a stored result stands on, as they were then."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgehemo.bundle.bundle import load_bundle
from edgehemo.cells.finder import open_cell_finder
from edgehemo.cells.typing import open_cell_typer
from edgehemo.errors import RecordsError
from edgehemo.estimate.network import open_field_networks
from edgehemo.records.artefacts import kept_bundle, kept_profile
from edgehemo.records.results import StoredResult
from edgehemo.records.store import Reader
from edgehemo.screening.field import FieldReader


@contextmanager
def kept_reader(reader: Reader, result: StoredResult) -> Iterator[FieldReader]:
    """A field reader as the one that made the result.

    The bundle is the kept one, opened by the runtime, precision and threads of then; a key that
    signed it need not be trusted any more. Raises RecordsError where it is not what the result
    names, BundleError where a runtime is missing here.
    """
    circumstances = result.circumstances
    with tempfile.TemporaryDirectory(prefix="edgehemo-replay-") as name:
        folder = Path(name) / "bundle"
        folder.mkdir()
        bundle = load_bundle(kept_bundle(reader, result.bundle_sha256, folder), trust="files-only")
        bundle.check_files()
        if bundle.digest != result.bundle_sha256:
            raise RecordsError("the kept bundle is not the one that the result stands on")
        profile = None
        if result.profile_sha256 is not None:
            called = circumstances.profile_name or "profile.json"
            profile = kept_profile(reader, result.profile_sha256, Path(name), called)
            if profile.digest() != result.profile_sha256:
                raise RecordsError("the kept profile is not the one that the result stands on")
        threads, runtime = circumstances.threads, circumstances.runtime
        precision = circumstances.precision
        yield FieldReader(
            finder=open_cell_finder(bundle, threads=threads, runtime=runtime, precision=precision),
            typer=open_cell_typer(bundle, threads=threads, runtime=runtime, precision=precision),
            networks=open_field_networks(
                bundle,
                circumstances.networks,
                threads=threads,
                runtime=runtime,
                precision=precision,
            ),
            profile=profile,
            envelope=bundle.envelope("cell_finder"),
            um_per_px=circumstances.um_per_px,
        )
