"""The contracts of the engine's parts: test classes to inherit, one file per kind of part.

A part of a user's own inherits the tests of its contract. pytest runs them, and
`pip install 'elastic-nas[testing]'` installs it.
"""

from pkgutil import iter_modules

try:
    import pytest
except ImportError as error:
    raise ImportError(
        "nas.testing: the contracts are tests of pytest, which is not installed here;"
        " pip install 'elastic-nas[testing]' installs it"
    ) from error

pytest.register_assert_rewrite(*(f"{__name__}.{part.name}" for part in iter_modules(__path__)))
