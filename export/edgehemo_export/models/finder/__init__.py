"""The cell finder: samples, training, evaluation, what its export needs."""
