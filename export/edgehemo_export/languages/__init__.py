"""The kiosk's languages on the workstation: what must be translated, and the files devices read.

``python -m edgehemo_export.languages`` writes the list of texts, adds new ones to each ``.po`` and
compiles it; ``--check`` says what is not up to date. Babel is needed here and on no device.
"""
