"""Anaemia-like against control-like pictures of blood (Remya et al. 2026)."""
