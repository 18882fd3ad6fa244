"""Recipes: what a run is to do, read from TOML and checked before any work.

`recipe` has the sections of a run that trains, `table_recipe` those of a search in a table.
"""
