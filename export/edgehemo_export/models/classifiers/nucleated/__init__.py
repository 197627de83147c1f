"""Nucleated cells."""
