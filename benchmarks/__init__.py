"""Measurements of the engine; each script prints its results as tables."""
