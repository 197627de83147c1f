"""The calibration profile of one microscope: load, validate, refuse."""

from edgehemo.profile.profile import CalibrationProfile, load_profile, new_profile, save_profile

__all__ = ["CalibrationProfile", "load_profile", "new_profile", "save_profile"]
