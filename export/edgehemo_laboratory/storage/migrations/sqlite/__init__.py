"""The numbered SQL of SQLite."""
