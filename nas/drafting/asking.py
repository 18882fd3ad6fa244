"""Questions that only the user can answer, and the answers of somebody who is not asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from nas.settings.toml_file import RecipeError

Check = Callable[[str], object]  # raises `ValueError` for an answer that does not fit


class Ask(Protocol):
    """A function that asks the user a question."""

    def __call__(
        self,
        question: str,
        *,
        key: str,
        options: Sequence[str] = (),
        default: str | None = None,
        check: Check | None = None,
    ) -> str:
        """The answer to a question.

        Args:
            question: The question.
            key: How the command line is given the answer instead, such as `--set task.label=...`.
            options: The allowed answers; any answer where there are none.
            default: The answer of a user who only presses Enter; None if the user must decide.
            check: A function that raises `ValueError` for an answer that does not fit, in words;
                the user is then asked again.

        Raises:
            RecipeError: Nobody can be asked and there is no default.
        """
        ...


def unasked(
    question: str,
    *,
    key: str,
    options: Sequence[str] = (),
    default: str | None = None,
    check: Check | None = None,
) -> str:
    """The default answer of a question, for `--yes` and for input that is no terminal."""
    if default is None:
        allowed = f" ({', '.join(options)})" if options else ""
        raise RecipeError(f"{question}{allowed} Nobody can be asked; give {key}")
    if check is not None:
        check(default)
    return default
