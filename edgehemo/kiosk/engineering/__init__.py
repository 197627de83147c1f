"""The engineer's pages: camera, calibration, profiles and bundles, the device itself."""
