"""The model bundle: load, validate, trust, refuse."""

from edgehemo.bundle.bundle import MANIFEST_NAME, SIGNATURE_NAME, Bundle, load_bundle
from edgehemo.bundle.manifest import Artefact, Manifest, ModelEntry, ModelTask

__all__ = [
    "MANIFEST_NAME",
    "SIGNATURE_NAME",
    "Artefact",
    "Bundle",
    "Manifest",
    "ModelEntry",
    "ModelTask",
    "load_bundle",
]
