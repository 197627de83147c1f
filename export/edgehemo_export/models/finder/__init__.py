"""The cell finder."""
