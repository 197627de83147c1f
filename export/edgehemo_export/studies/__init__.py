"""The papers' studies: each from data to figures and one page, by one command."""
