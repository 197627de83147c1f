"""What can go wrong at the laboratory, beside what users do wrong."""

from __future__ import annotations

from edgehemo.errors import UsageError


class LaboratoryError(UsageError):
    """The laboratory refuses what is asked of it; one line says why and what to do."""


class StorageError(LaboratoryError):
    """The storage cannot be opened, read or written."""


class StorageBusyError(StorageError):
    """The storage cannot be reached now: whoever asks is to come again."""


class StorageFullError(StorageError):
    """There is no space left: nothing of what was being written is kept."""


class ConflictError(StorageError):
    """Another has changed the same meanwhile; the work is to be done again."""
