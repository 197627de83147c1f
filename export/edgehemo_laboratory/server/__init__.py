"""HTTPS: the interface for kiosks."""
