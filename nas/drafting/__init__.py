"""Recipes for beginners: drafted from a look at data and machine, or brought from the package."""
