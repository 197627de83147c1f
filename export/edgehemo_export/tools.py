"""Versions of what an artefact is made with: part of its fingerprint and of its record."""

from __future__ import annotations

import importlib.metadata
from functools import cache

from edgehemo_export.quantisation.formats import ExportFormat

_COMMON = ("torch", "torchvision")
_BY_FORMAT = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino", "nncf"),
    "tflite": ("litert-torch", "ai-edge-quantizer", "ai-edge-litert"),
}


def tool_versions(item: ExportFormat) -> dict[str, str]:
    """Distribution to version, of what writes a format."""
    return {name: _version(name) for name in (*_COMMON, *_BY_FORMAT[item.name])}


@cache
def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "none"
