"""From a frame to a field's reading, from fields to a sample's."""
