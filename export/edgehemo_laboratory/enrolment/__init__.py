"""Kiosks come to the laboratory: pairing codes, certificates on both sides, and their end."""
