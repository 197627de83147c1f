"""Parts of ``benchmarks/archive_reread.py``: fields to read, stages timed, runs killed."""
