"""Every code a person can meet, with what to do."""
