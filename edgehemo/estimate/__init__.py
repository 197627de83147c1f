"""From canonical fields to the concentrations of a sample, each with its interval.

Called, `edgehemo.estimate(pictures)`, it is the function of `edgehemo.api`.
"""

from edgehemo.calling import make_callable

make_callable(__name__)
