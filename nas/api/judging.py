"""How a network made from a user's own is judged: by the user's metric, or without labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from nas.api.objective import Figures, FormError
from nas.evaluation.evaluation import ERROR, EvaluationError
from nas.facts.metric import MetricWords
from nas.own.calling import Calling
from nas.own.distance import WORDS, Distance
from nas.own.evaluator import HELD_OUT, Judged
from nas.own.model import OwnModelError

Evaluate = Callable[[nn.Module], float | Mapping[str, float]]

DISTANCE = "distance"
"""The metric of the distance to the float network, beside a metric of the user's own."""


@dataclass(frozen=True, eq=False)
class Judge:
    """The judge of a fit.

    Attributes:
        calling: How networks are called.
        words: The words of the searched figure.
        seen: The distance on the samples of the search.
        unseen: The distance on samples that the search does not see.
        evaluate: The user's metric; None to judge by distance.
        confirm: The same metric on samples that the search does not see; None without.
    """

    calling: Calling
    words: MetricWords
    seen: Distance
    unseen: Distance
    evaluate: Evaluate | None = None
    confirm: Evaluate | None = None

    def __post_init__(self) -> None:
        if self.confirm is not None and self.evaluate is None:
            raise OwnModelError(
                "`confirm` is the figure of `evaluate` on other samples, and there is no "
                "`evaluate`; give both, or neither to judge by distance"
            )

    @property
    def by(self) -> tuple[str, ...]:
        """The metrics by which the returned network is chosen, the decisive one first."""
        if self.evaluate is None:
            return HELD_OUT, ERROR
        return HELD_OUT if self.confirm else ERROR, DISTANCE

    @property
    def alike(self) -> tuple[float, ...]:
        """The difference of each of these metrics up to which networks give the same answers."""
        if self.evaluate is None:
            return self.unseen.alike, self.seen.alike
        return 0.0, self.unseen.alike

    @property
    def given(self) -> Iterator[Tensor]:
        """The tensors of the samples."""
        yield from self.seen.given
        yield from self.unseen.given

    def __call__(self, network: nn.Module) -> Judged:
        """What is found of a network."""
        module = self.calling.module(network)
        if self.evaluate is None:
            answers = self.seen.losses(module)
            found = {ERROR: answers.error, HELD_OUT: self.unseen.losses(module).error}
            return Judged(found, answers)
        metrics = losses(self.evaluate, module, self.words)
        if self.confirm is not None:
            metrics[HELD_OUT] = losses(self.confirm, module, self.words)[ERROR]
        return Judged({**metrics, DISTANCE: self.unseen.losses(module).error})


def losses(evaluate: Evaluate, module: nn.Module, words: MetricWords) -> dict[str, float]:
    """The metrics that a user's function finds, all of them losses, `error` first.

    Raises:
        EvaluationError: The function fails, or returns something that is no finite number.
    """
    try:
        returned = evaluate(module)
    except Exception as error:
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise EvaluationError(f"evaluate failed: {told}") from error
    try:
        found = Figures(words).losses(returned)
    except FormError as error:
        raise FormError(str(error).replace("the objective", "evaluate")) from None
    if not all(map(math.isfinite, found.values())):
        raise EvaluationError(
            f"evaluate returned {returned!r}, and every figure must be a finite number; look at "
            "the data that it reads"
        )
    return found


def words_of(
    metric: str | MetricWords | None, evaluate: Evaluate | None, model: nn.Module
) -> MetricWords:
    """The words of the searched figure, after the float network was judged once.

    A metric that has only a name is better when larger, and at best the next power of ten above the
    figure of the float network.

    Raises:
        OwnModelError: `evaluate` returns no number for the float network, or a metric is named
            although there is no `evaluate`.
    """
    if evaluate is None:
        if metric is not None:
            raise OwnModelError(
                "a metric is named, but there is no `evaluate` that returns it; give a function "
                "of the network, or leave `metric` out to minimise the distance to the float one"
            )
        return WORDS
    named = metric if isinstance(metric, MetricWords) else MetricWords(metric or "score", digits=4)
    try:
        figure = losses(evaluate, model, replace(named, best=None))[ERROR]
    except EvaluationError as error:
        raise OwnModelError(f"for the float network, {error}") from error
    if isinstance(metric, MetricWords):
        return metric
    best = 0.0 if figure <= 0 else 10.0 ** math.ceil(math.log10(figure))
    return replace(named, best=best)
