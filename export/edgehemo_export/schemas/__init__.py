"""The JSON Schemas of what the workstation's commands write."""
