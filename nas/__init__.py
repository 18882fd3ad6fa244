"""The engine: targets, objectives, searchers, archive, Ray, export, report, tasks, command line.

Read in this order: `evaluate` and `objectives` (what is measured and what is wanted), `search`
(who proposes), `archive` (what is kept), `pipeline` (the whole run), `cli`.
"""
