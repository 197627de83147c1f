"""The whole screening in the simulated microscope."""
