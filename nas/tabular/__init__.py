"""Tables of networks that others trained and measured, searched like any space.

Read `description.py` first, then `rows.py` and `table.py`; `published.py` knows published ones.
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
