"""Versions of edgehemo on a kiosk, without a network: media, two slots, the way there and back.

On a workstation `collecting` puts everything a device installs on a stick and signs it. On the
device `media` checks it whole, `slots` builds it beside the version that runs, `installing`
switches and `proving` judges by a stored test slide, and goes back where it fails.
"""
