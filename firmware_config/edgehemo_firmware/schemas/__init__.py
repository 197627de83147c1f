"""The JSON Schemas of what the commands of the device write, and of the files they read."""
