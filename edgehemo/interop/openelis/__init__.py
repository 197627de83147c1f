"""What OpenELIS needs to take results of this device: an analyzer profile, and messages to try it.

``profile.json`` follows the published contract of the OpenELIS analyzer bridge (analyzer/v1), so
that a laboratory adds the kiosk without programming. ``result.hl7``, ``withheld.hl7`` and
``control.hl7`` are messages as this device sends them, of nobody's blood. All four are made by
``python -m edgehemo.interop.openelis``.
"""
