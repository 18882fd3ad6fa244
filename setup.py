"""The one part of the build that pyproject.toml cannot say: the README of a package index.

Links and pictures of README.md are relative, for a clone. In the metadata of wheel and sdist they
lead to the repository, where an index has none of the files.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s]+)\)")


def absolute(text: str, source: str) -> str:
    """The text, in which relative links and pictures lead to the repository at `source`."""
    return RELATIVE.sub(
        lambda found: (
            f"{found[1]}[{found[2]}]({source}/{'raw' if found[1] else 'blob'}/main/{found[3]})"
        ),
        text,
    )


if __name__ == "__main__":
    urls = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    setup(
        long_description=absolute((HERE / "README.md").read_text(encoding="utf-8"), urls["Source"]),
        long_description_content_type="text/markdown",
    )
