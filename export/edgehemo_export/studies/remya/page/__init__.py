"""The study's page, a module for each of its sections."""
