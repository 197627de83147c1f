"""The networks, and the one table of classifier architectures."""
