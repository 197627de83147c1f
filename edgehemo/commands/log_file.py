"""The file that `--log-file` names."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler


class LogFile(RotatingFileHandler):
    """A full or broken disk ends the log, never the work."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's own name
        self.setLevel(logging.CRITICAL + 1)
