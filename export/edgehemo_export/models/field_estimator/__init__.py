"""The field estimator."""
