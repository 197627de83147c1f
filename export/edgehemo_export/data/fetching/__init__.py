"""Public data sets by name: a registry, fetched with a licence accepted, unpacked, verified."""
