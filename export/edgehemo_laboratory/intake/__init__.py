"""A batch comes in, a receipt goes out: what is in it, whether it may come, what is missing."""
