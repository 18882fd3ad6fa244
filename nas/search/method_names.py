"""The names of the evolutionary algorithms and their packages; imports none of these packages."""

from __future__ import annotations

import importlib.util

METHOD_NAMES = ("nsga2", "nsga3", "sms-emoa", "age-moea", "r-nsga2")
"""The algorithms: NSGA-II (Deb et al. 2002), NSGA-III (Deb and Jain 2014), SMS-EMOA (Beume et al.
2007), AGE-MOEA (Panichella 2019), R-NSGA-II (Deb and Sundar 2006)."""


def require(searcher: str) -> None:
    """Refuse a searcher that needs a package which is not installed.

    Raises:
        ValueError: The package is missing; the message says how to install it.
    """
    if searcher == "age-moea" and importlib.util.find_spec("numba") is None:
        raise ValueError(
            "age-moea needs numba, which is not installed; run: pip install 'elastic-nas[peers]', "
            f"or take another method: {', '.join(m for m in METHOD_NAMES if m != 'age-moea')}"
        )
