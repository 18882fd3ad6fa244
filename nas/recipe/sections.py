"""Sections of a recipe for named parts, whose keys are the keyword-only parameters of the part."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeVar, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.errors import PydanticUserError

from nas.parts import PartError, Parts
from nas.recipe.names import CriterionName
from nas.settings.toml_file import RecipeError
from nas.tasks.task import Task
from search_spaces.documents import UnreadableFile
from search_spaces.space import SearchSpace


class Section(BaseModel):
    """A part of a recipe: frozen, and closed to unknown keys."""

    # A value may be a URL with a password, which no traceback is to repeat.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class PartSection(Section):
    """A section with the name of a part and the options of this part.

    Attributes:
        PART: The kind of the part.
        KEY: The key of the section that holds the name of the part.
        OWN: All keys that the section has for every part of the kind.
        GIVEN: The number of arguments that the part gets before the options.
    """

    PART: ClassVar[str]
    KEY: ClassVar[str]
    OWN: ClassVar[tuple[str, ...]]
    GIVEN: ClassVar[int] = 0

    def made(self, *given: Any) -> Any:
        """The result of the part, called with the arguments `given` and with the options."""
        keys = [key for key in type(self).model_fields if key not in self.OWN]
        options = {key: getattr(self, key) for key in keys}
        return Parts(self.PART)[getattr(self, self.KEY)](*given, **options)


class SpaceSection(PartSection):
    """A search space: a function of the task's inputs and output, and its options."""

    PART, KEY, OWN, GIVEN = "space", "family", ("family",), 2
    family: str

    def build(self, task: Task) -> SearchSpace:
        """The space for a task.

        Raises:
            UnreadableFile: A file of the space cannot be read.
            RecipeError: The options make no space for this task.
        """
        try:
            made = self.made(task.inputs, task.output)
        except UnreadableFile:
            raise
        except ValueError as error:
            raise RecipeError(
                f"the space {self.family!r} cannot be built for the task {task.name!r}: {error}"
            ) from error
        return _required(made, SearchSpace, f"the space {self.family!r}")


class TaskSection(PartSection):
    """A task: a function of its options, or a model of its options with the method `load`.

    Attributes:
        kind: The name of the task.
        criterion: The name of a criterion that replaces the task's own.
    """

    PART, KEY, OWN = "task", "kind", ("kind", "criterion")
    kind: str
    criterion: CriterionName | None = None

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: The data cannot be read, or targets do not fit the criterion.
        """
        load_model = getattr(super(), "load", None)  # of a part that is a model of its options
        made = self.made() if load_model is None else load_model()
        task = _required(made, Task, f"the task {self.kind!r}")
        if self.criterion is None:
            return task
        return replace(task, criterion=Parts("criterion")[self.criterion]())


Made = TypeVar("Made")


def _required(made: object, kind: type[Made], what: str) -> Made:
    if not isinstance(made, kind):
        raise PartError(f"{what} must give a {kind.__name__}, given {type(made).__name__}")
    return made


Base = TypeVar("Base", bound=PartSection)


def section_for(base: type[Base], content: object) -> type[Base]:
    """The type of the section with this content.

    Content that names no known part has a section which allows only the names of known parts.

    Args:
        base: The type of all sections of the kind.
        content: The section as the recipe has it.
    """
    known = Parts(base.PART)
    name = content.get(base.KEY) if isinstance(content, Mapping) else None
    if isinstance(name, str) and name in known:
        return section(base, name)
    fields: dict[str, Any] = {base.KEY: (Literal[tuple(sorted(known))], ...)}
    return cast("type[Base]", create_model(base.__name__, __base__=(base, _Open), **fields))


class _Open(BaseModel):
    model_config = ConfigDict(extra="allow")


def section(base: type[Base], name: str) -> type[Base]:
    """The type of the section for the part called `name`.

    Raises:
        PartError: There is no such part, or its parameters cannot be keys of a recipe.
    """
    return cast("type[Base]", _derived(base, name, Parts(base.PART)[name]))


@functools.lru_cache(maxsize=256)  # a part has one type, so that equal recipes are equal
def _derived(base: type[PartSection], name: str, maker: Callable[..., Any]) -> type[BaseModel]:
    fields: dict[str, Any] = {base.KEY: (Literal[name], ...)}
    if isinstance(maker, type) and issubclass(maker, BaseModel):
        return create_model(maker.__name__, __base__=(base, maker), **fields)
    try:
        fields |= _options(base, maker)
        return create_model(f"{name} {base.__name__}", __base__=base, **fields)
    except (PydanticUserError, NameError, TypeError, ValueError) as error:
        raise PartError(
            f"the parameters of the {base.PART} {name!r} cannot be keys of a recipe: {error}"
        ) from error


def _options(base: type[PartSection], maker: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of a maker, with their types and defaults, as fields."""
    hints = get_type_hints(maker, include_extras=True)
    fields: dict[str, Any] = {}
    given = 0
    for key, parameter in inspect.signature(maker).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            if key not in hints:
                raise TypeError(f"{key!r} has no annotation; give it a type")
            if hasattr(base, key) or key in base.OWN:
                raise TypeError(f"every section needs the name {key!r} itself; rename it")
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[key] = (hints[key], default)
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{parameter} stands for any number of arguments; name each of them")
        else:
            given += 1
    if given != base.GIVEN:
        raise TypeError(
            f"it takes {given} positional arguments but is called with {base.GIVEN}; put the "
            "options behind a *"
        )
    return fields
