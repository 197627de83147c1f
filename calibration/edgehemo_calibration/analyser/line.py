"""The line of few pairs: what is known beforehand, what the pairs add, and what else they might be.

Analyser pairs are few and each errs by a tenth and more, so that a free line of eight pairs is
mostly their error. Two things are known before any pair is measured. A field without cells holds
no haemoglobin, so the line goes nearly through zero: one number, its scale, is left for the pairs.
And by how much a pair errs is known roughly, from how smears vary. Each pair may moreover be
another patient's: every hypothesis "this pair is" and "these two are" is fitted, and the lines are
averaged by how well each hypothesis explains the pairs (Bayesian linear model with conjugate
priors and outliers: Box and Tiao 1968; model averaging: Hoeting et al. 1999). Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# How far from zero the line may cross the axis of the values, as a share of the typical value (one
# standard deviation). Over simulated microscopes (`benchmarks/few_pairs.py`) the lines of the
# preferred estimators through all samples rise by 0.78 to 0.89 of what a line through zero would,
# with a standard deviation of 0.05 to 0.10 between microscopes: what scatters in an index flattens
# its line.
OFFSET_SHARE = 0.15
# What a pair errs by, as shares of the typical value: the part that all fields of a smear have in
# common (its thickness, its stain) and the part of each field. Rounded up from the simulation, so
# that what it does not know of finds room. As good as so many samples.
SAMPLE_ERROR_SHARE = 0.10
FIELD_ERROR_SHARE = 0.14
ERROR_FREEDOM = 3.0
# The chance that a pair is mixed up, and how the values of patients then scatter about the typical
# one (share of it).
MIXED_UP = 0.03
PATIENTS_SHARE = 0.35
# Two pairs are taken for mixed up together among so many that are the likeliest each by itself.
LIKELIEST = 8
# The columns of a design beyond this condition number do not determine a line.
MAX_CONDITION = 1e10


@dataclass(frozen=True, slots=True)
class Line:
    """A line with what is not known of it.

    coefficients: float64 (1 + k,), intercept first. unscaled_covariance: their covariance over
    prediction_sd squared. prediction_sd: of a new sample about the line. degrees_of_freedom: of
    Student's t. mixed_up: float64 (n,), how probable it is that each pair is another patient's.
    """

    coefficients: Array
    unscaled_covariance: Array
    prediction_sd: float
    degrees_of_freedom: int
    mixed_up: Array

    def at(self, features: Array) -> Array:
        """Values at features, float64 (n, count) -> (n,)."""
        return np.asarray(_design(features) @ self.coefficients)

    def spread(self, features: Array) -> Array:
        """Variance of a new sample over prediction_sd squared, float64 (n, count) -> (n,)."""
        x = _design(features)
        leverage = np.einsum("ni,ij,nj->n", x, self.unscaled_covariance, x)
        return np.asarray(1.0 + leverage)

    def residual_sd(self, features: Array, values: Array) -> float:
        """Of the pairs themselves, each as far as it is not mixed up."""
        squares = (1.0 - self.mixed_up) * (values - self.at(features)) ** 2
        freedom = len(values) - len(self.coefficients)
        return math.sqrt(float(squares.sum()) / max(1, freedom))


def fit_line(
    features: Array,
    values: Array,
    *,
    fields_per_sample: float = 1.0,
    patients: int | None = None,
    mixed_up: float = MIXED_UP,
) -> Line | None:
    """The line of values, float64 (n,), on features, float64 (n, k); None where they do not vary.

    fields_per_sample: median. patients: how many different ones, the number of values where it is
    not given. mixed_up: the chance that a pair is; 0 where somebody has looked at all of them.
    """
    count, terms = len(features), features.shape[1] + 1
    scaled = _scaled(features)
    if scaled is None:
        return None
    design, scale = scaled
    model = _Model(design, values, fields_per_sample, patients or count)
    left_out: list[tuple[int, ...]] = [()]
    if mixed_up > 0 and count > terms + 2:
        singles: list[tuple[int, ...]] = [(i,) for i in range(count)]
        weights = model.fitted(singles, mixed_up).log_weight
        likeliest = np.sort(np.argsort(weights)[::-1][:LIKELIEST]).tolist()
        left_out = [(), *singles, *itertools.combinations(likeliest, 2)]
    return model.fitted(left_out, mixed_up).averaged(scale)


def left_out_estimates(
    features: Array, values: Array, groups: NDArray[np.int64], *, fields_per_sample: float = 1.0
) -> Array | None:
    """What the lines without each sample's group say of it, float64 (n,), no pair being mixed up;
    None where the features do not vary.

    All at once, as estimators are compared by it. The typical value, which only says how firmly
    the lines are held to zero, is that of all samples.
    """
    scaled = _scaled(features)
    numbers = np.unique(groups)
    if scaled is None or len(numbers) < 3:
        return None
    design, _ = scaled
    model = _Model(design, values, fields_per_sample, len(numbers))
    members = [tuple(np.flatnonzero(groups == number).tolist()) for number in numbers]
    lines = model.fitted(members, 0.0).coefficients
    return np.asarray((design * lines[np.searchsorted(numbers, groups)]).sum(axis=1))


def _scaled(features: Array) -> tuple[Array, Array] | None:
    """The design with columns of like size, and what they were divided by."""
    x = _design(features)
    scale = np.maximum(np.abs(x).max(axis=0), 1e-300)
    if len(x) < x.shape[1] + 1 or np.linalg.cond(x / scale) ** 2 > MAX_CONDITION:
        return None
    return x / scale, scale


def _design(features: Array) -> Array:
    return np.column_stack([np.ones(len(features)), features])


@dataclass(frozen=True, slots=True)
class _Hypotheses:
    """What each hypothesis makes of the pairs: coefficients (h, p), covariance without the variance
    (h, p, p), variance (h,), freedom (h,), log of its weight (h,); kept: bool (h, n).
    """

    coefficients: Array
    covariance: Array
    variance: Array
    freedom: Array
    log_weight: Array
    kept: NDArray[np.bool_]

    def averaged(self, scale: Array) -> Line:
        """The one line that stands for all; scale: what the design's columns were divided by."""
        share = np.exp(self.log_weight - self.log_weight.max())
        share /= share.sum()
        coefficients = share @ self.coefficients
        apart = self.coefficients - coefficients
        covariance = np.einsum("h,hij->ij", share * self.variance, self.covariance)
        covariance += np.einsum("h,hi,hj->ij", share, apart, apart)
        variance = float(share @ self.variance)
        covariance /= variance * np.outer(scale, scale)
        return Line(
            coefficients=coefficients / scale,
            unscaled_covariance=(covariance + covariance.T) / 2,
            prediction_sd=math.sqrt(variance),
            degrees_of_freedom=max(1, int(share @ self.freedom)),
            mixed_up=np.asarray(share @ ~self.kept),
        )


@dataclass(frozen=True, slots=True)
class _Model:
    """The pairs: design (n, p) with ones first, values (n,)."""

    design: Array
    values: Array
    fields_per_sample: float
    patients: int

    def fitted(self, left_out: Sequence[tuple[int, ...]], mixed_up: float) -> _Hypotheses:
        """One fit for each set of pairs that are taken for mixed up.

        The error's variance is inverse gamma beforehand, the intercept normal about zero, the
        slopes free; a pair that is mixed up is drawn from the patients.
        """
        x, y = self.design, self.values
        typical = float(np.median(y))
        error = typical * math.hypot(
            SAMPLE_ERROR_SHARE, FIELD_ERROR_SHARE / math.sqrt(self.fields_per_sample)
        )
        kept = np.ones((len(left_out), len(y)), dtype=bool)
        for row, out in zip(kept, left_out, strict=True):
            row[list(out)] = False
        weight = kept.astype(np.float64)
        prior = np.zeros((x.shape[1], x.shape[1]))
        prior[0, 0] = (error / (OFFSET_SHARE * typical)) ** 2
        terms = x.shape[1]
        products = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
        precision = (weight @ products).reshape(-1, terms, terms) + prior
        covariance = np.asarray(np.linalg.inv(precision), dtype=np.float64)
        coefficients = np.einsum("hij,hj->hi", covariance, weight @ (x * y[:, None]))
        residual = y - coefficients @ x.T
        squares = (weight * residual**2).sum(axis=1) + prior[0, 0] * coefficients[:, 0] ** 2
        squares += ERROR_FREEDOM * error**2
        number = weight.sum(axis=1)
        # Samples of one patient are not independent; the slopes cost a degree each.
        independent = number * self.patients / len(y)
        freedom = ERROR_FREEDOM + independent - (terms - 1)
        explained = 0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * freedom * np.log(squares)
        explained += np.array([math.lgamma(0.5 * f) for f in freedom])
        explained -= 0.5 * (independent - (terms - 1)) * math.log(math.pi)
        away = (y - typical) / (PATIENTS_SHARE * typical)
        among = -0.5 * away**2 - math.log(PATIENTS_SHARE * typical * math.sqrt(2 * math.pi))
        if mixed_up > 0:
            explained += (1 - weight) @ (among + math.log(mixed_up / (1 - mixed_up)))
        return _Hypotheses(coefficients, covariance, squares / freedom, freedom, explained, kept)
