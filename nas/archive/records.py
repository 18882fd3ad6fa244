"""The schema of a journal's records, by which records of any program or version are checked."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)

MAKE_STUDY, MARK_STUDY, MAKE_TRIAL = 0, 2, 4  # as Optuna numbers operations
COMPLETE = 1  # as Optuna numbers states


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


@functools.lru_cache(maxsize=4096)  # every record of a study holds the same ones
def _options(text: str) -> int:
    """The number of options of a categorical distribution, given as Optuna's JSON."""
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    match content:
        case {"name": "CategoricalDistribution", "attributes": {"choices": [_, *_] as options}}:
            return len(options)
    raise ValueError("it is no choice among options")


Index = Annotated[int, Field(ge=0)]
Moment = Annotated[str, AfterValidator(_moment)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    worker_id: str


class _StudyMade(_Record):
    op_code: Literal[0]
    study_name: str
    directions: tuple[Literal[1]] = Field(strict=False)


class _StudyMarked(_Record):
    op_code: Literal[2]
    study_id: Index
    user_attr: dict[str, str]


class _StudyNamed(_Record):
    op_code: Literal[3]
    study_id: Index
    system_attr: dict[str, JsonValue]


class _TrialMade(_Record):
    op_code: Literal[4]
    study_id: Index
    datetime_start: Moment
    datetime_complete: Moment
    state: int = Field(ge=COMPLETE, le=COMPLETE)
    value: FiniteFloat
    values: None
    distributions: dict[str, str]
    params: dict[str, Index]
    user_attrs: dict[str, JsonValue]
    system_attrs: dict[str, JsonValue] = Field(max_length=0)
    intermediate_values: dict[str, JsonValue] = Field(max_length=0)

    @model_validator(mode="after")
    def _picks_options(self) -> Self:
        if self.params.keys() != self.distributions.keys():
            raise ValueError("its parameters are not those of its distributions")
        for name, text in self.distributions.items():
            if self.params[name] >= _options(text):
                raise ValueError(f"{name} has no option {self.params[name]}")
        return self


class HeldAnswers(BaseModel):
    """The form in which a trial's attribute holds the answers of an evaluation, in base 64.

    `wrong` is one bit per sample where answers are right or wrong, `losses` a float32 otherwise.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    wrong: str | None = None
    losses: str | None = None
    seen: int
    whole: int

    @model_validator(mode="after")
    def _holds_one_kind(self) -> Self:
        if (self.wrong is None) == (self.losses is None):
            raise ValueError("answers hold either `wrong` or `losses`")
        return self


class TrialAttributes(BaseModel):
    """The attributes of a trial; each metric is also an attribute of its own."""

    model_config = ConfigDict(extra="allow", strict=True)
    metrics: dict[str, FiniteFloat]
    seed: int
    seconds: FiniteFloat
    where: str
    answers: HeldAnswers | None = None


_FORM: TypeAdapter[Any] = TypeAdapter(
    Annotated[_StudyMade | _StudyMarked | _StudyNamed | _TrialMade, Field(discriminator="op_code")]
)


def record_problem(record: Mapping[str, Any]) -> str | None:
    """The reason why a record is not one that an archive writes, or `None` if it is."""
    try:
        _FORM.validate_python(record)
    except ValidationError as error:
        return f"it is no record that an archive writes ({problem(error)})"
    return None


def problem(error: ValidationError) -> str:
    """The first problem of a failed validation, in words."""
    first = error.errors(include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
