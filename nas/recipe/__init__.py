"""Recipes: what a run is to do, read from TOML and checked before any work.

`recipe` has the sections of a run that trains, `model_recipe` those of a run with a network that is
trained already, `table_recipe` those of a search in a table and the reader of all three kinds.
"""
