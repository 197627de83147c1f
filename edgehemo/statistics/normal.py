"""The one quantile of the normal distribution that intervals are made with."""

from __future__ import annotations

# Two-sided 95 %: 2.5 % of the distribution lie above it, and as many below its negative.
Z_95 = 1.959964
