"""Every module can be imported, on its own and without a warning."""

import importlib
import pkgutil

import pytest


@pytest.mark.parametrize("package", ["search_spaces", "supernets", "predictors", "nas"])
def test_every_module_is_imported(package):
    root = importlib.import_module(package)
    names = [found.name for found in pkgutil.walk_packages(root.__path__, f"{package}.")]
    assert names
    for name in names:
        importlib.import_module(name)
