"""Intervals, medians and quantiles, without a statistics library."""
