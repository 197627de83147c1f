"""The JSON Schemas of media, of the versions on a device, and of what changes them."""
