"""Tabular benchmarks: tables of networks that others have measured, searched like any space.

Read `description.py` first, then `columns.py`, `networks.py`, `figures.py` and `benchmark.py`.
Published tables are in `published.py`.
"""

from nas.tabular.benchmark import TableEvaluator, Tabular, load_table
from nas.tabular.description import TableError
from nas.tabular.exact import ExactFront, exact_front, is_listable
from nas.tabular.published import open_table, published

__all__ = [
    "ExactFront",
    "TableError",
    "TableEvaluator",
    "Tabular",
    "exact_front",
    "is_listable",
    "load_table",
    "open_table",
    "published",
]
