"""The records: what was measured is never lost, never changed, and can be computed again."""
