"""Data sets that lie beside the repository and are not part of it; tests skip without them."""

from pathlib import Path

import pytest


def shared_data(name: str) -> Path:
    """The file or folder `shared/data/NAME` beside the repository or above; skips without it."""
    for folder in Path(__file__).resolve().parents:
        found = folder / "shared" / "data" / name
        if found.exists():
            return found
    pytest.skip(f"there is no shared/data/{name} beside the repository")
