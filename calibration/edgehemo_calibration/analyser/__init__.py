"""Indices of a microscope against an analyser's values."""
