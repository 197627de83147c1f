"""Numbered SQL, a folder an engine; both bring the same tables to the same version."""
