"""From canonical fields to the concentrations of a sample, each with its interval."""
