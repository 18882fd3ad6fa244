"""Measurements of the engine; each script prints its tables."""
