"""Names of parts in a recipe: each must be in the table of parts; none is imported for this."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator

from nas.parts import Parts


def _known(kind: str) -> AfterValidator:
    def known(name: str) -> str:
        Parts(kind).entry(name)
        return name

    return AfterValidator(known)


def _distinct(names: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(names)) < len(names):
        raise ValueError("must name each once")
    return names


Distinct = AfterValidator(_distinct)
SearcherName = Annotated[str, _known("searcher")]
CriterionName = Annotated[str, _known("criterion")]
PredictorName = Annotated[str, _known("predictor")]
ProxyName = Annotated[str, _known("proxy")]
FormName = Annotated[str, _known("export-form")]
