"""Export: formats, int8 recipes, parity, the bundle and its report."""
