"""The JSON Schemas of what the calibration commands write."""
