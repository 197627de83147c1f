"""Kiosks to try a laboratory with: the device's own code, on the simulated microscope."""
