"""Searchers: who proposes which subnets to evaluate next.

Read in this order: `base` (ask and tell), `random`, `evolution` (pymoo), `guided`, `loop`.
"""
