"""What the kiosk's camera is given by itself, before anybody turns a setting."""

from __future__ import annotations

from edgehemo.capture.protocol import CameraSettings
from edgehemo.device.configuration import DeviceConfiguration
from edgehemo.errors import ProfileError
from edgehemo.kiosk.profile_of import profile_path
from edgehemo.profile.profile import load_profile


def own_settings(source: str, device: DeviceConfiguration) -> CameraSettings:
    """The profile's settings, under which its light was measured, the device's over them, as a
    screening has them. A profile that cannot be read gives none: the self-check tells of it.
    """
    own = device.camera.settings()
    path = profile_path(source, device)
    try:
        profile = None if path is None else load_profile(path)
    except ProfileError:
        profile = None
    if profile is None or profile.illumination is None or profile.illumination.settings is None:
        return own
    return CameraSettings(**profile.illumination.settings.model_dump()).overlaid(own)
