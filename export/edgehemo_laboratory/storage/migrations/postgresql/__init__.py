"""The numbered SQL of PostgreSQL."""
