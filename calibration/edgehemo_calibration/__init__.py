"""Measures one microscope and writes its calibration profile; the device only reads that."""
