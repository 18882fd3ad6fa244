"""The evaluator for subnets of a trained supernet, in this process or, by a factory, in others."""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nas.evaluation.answers import Answers, estimated_error, hopeless
from nas.evaluation.evaluation import (
    Arrays,
    Evaluation,
    EvaluationError,
    EvaluatorFactory,
    RivalOf,
    no_rival,
)
from search_spaces.space import Genotype, SearchSpace
from supernets.deploy import Deployment
from supernets.inputs import Inputs
from supernets.supernet import Supernet


class SupernetEvaluator:
    """An evaluator of subnets as they ship: extracted, recalibrated and with folded batch norms.

    On the validation split, the evaluator measures `error`, wrong answers in percent, and `loss`,
    the mean cross entropy. Every genotype is measured alone and from the same random state, so its
    result does not depend on other genotypes.

    Args:
        deployment: Makes the networks to measure, on its device.
        validation: Batches of images and labels; a search sees no other data. A subnet may be
            stopped between two batches.
        seed: The seed of the run, stored in every evaluation.
        threads: The number of torch's threads while measuring; `None` changes nothing.
        whole: The number of images that the search shows; the others are held back.
    """

    def __init__(
        self,
        deployment: Deployment,
        validation: Sequence[tuple[Tensor, Tensor]],
        *,
        seed: int,
        threads: int | None = None,
        whole: int | None = None,
    ) -> None:
        if not sum(len(labels) for _, labels in validation):
            raise ValueError(
                f"a supernet evaluator needs validation images, given {len(validation)} batches"
            )
        self._deployment, device = deployment, deployment.device
        self._validation = [(x.to(device), y.to(device)) for x, y in validation]
        self._seed = seed
        self._threads = threads
        self._whole = whole or sum(len(labels) for _, labels in validation)

    def __call__(
        self, genotypes: Iterable[Genotype], rival_of: RivalOf = no_rival
    ) -> Iterator[list[Evaluation]]:
        """Evaluations, one per genotype, in the order of `genotypes`, each made when asked for.

        For an evaluation that is stopped, `error` is `estimated_error`, and `loss` is the mean over
        the images seen.
        """
        for genotype in genotypes:
            start = time.perf_counter()
            try:
                with _pinned(self._threads):
                    metrics, answers = self._measured(genotype, rival_of(genotype))
            except Exception as error:
                raise EvaluationError(
                    f"evaluating genotype {genotype} failed: {type(error).__name__}: {error}"
                ) from error
            seconds = time.perf_counter() - start
            where = place(self._deployment.device)
            yield [Evaluation(genotype, metrics, self._seed, seconds, where, answers)]

    def _measured(
        self, genotype: Genotype, rival: Answers | None
    ) -> tuple[dict[str, float], Answers]:
        module = self._deployment(genotype).module().to(self._deployment.device)
        wrong, loss = np.zeros(0, dtype=np.bool_), 0.0
        with torch.inference_mode():
            for images, labels in self._validation:
                logits = module(images)
                missed = (logits.argmax(dim=1) != labels).cpu().numpy()
                wrong = np.concatenate([wrong, missed])
                loss += float(F.cross_entropy(logits, labels, reduction="sum"))
                if rival is not None and rival.whole == self._whole and hopeless(wrong, rival):
                    break
        answers = Answers.of(wrong, self._whole)
        metrics = {"error": estimated_error(answers, rival), "loss": loss / len(wrong)}
        return metrics, answers

    def factory(self) -> EvaluatorFactory:
        """The factory that builds this evaluator in another process."""
        supernet = self._deployment.supernet
        tensors = {f"state.{name}": t for name, t in supernet.state_dict().items()}
        for index, inputs in enumerate(self._deployment.calibration):
            tensors |= {f"calibration.{index}.{name}": t for name, t in inputs.items()}
        for index, (images, labels) in enumerate(self._validation):
            tensors[f"validation.{index}"], tensors[f"labels.{index}"] = images, labels
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        build = partial(
            _rebuilt,
            space=supernet.space,
            seed=self._seed,
            device=str(self._deployment.device),
            threads=self._threads,
            whole=self._whole,
        )
        return EvaluatorFactory(build, arrays)


def place(device: object) -> str:
    """The text for `Evaluation.where`: host, process and device."""
    return f"{socket.gethostname()}:{os.getpid()}:{device}"


@contextmanager
def _pinned(threads: int | None) -> Iterator[None]:
    """A context with `threads` threads of torch, for one evaluation."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _rebuilt(
    arrays: Arrays, *, space: SearchSpace, seed: int, device: str, **options: Any
) -> SupernetEvaluator:
    tensors = {name: _shared(array) for name, array in arrays.items()}

    def part(kind: str) -> list[Tensor]:
        indices = sorted(int(n.removeprefix(kind)) for n in tensors if n.startswith(kind))
        return [tensors[f"{kind}{index}"] for index in indices]

    supernet = Supernet(space, seed=seed)
    state = {n.removeprefix("state."): t for n, t in tensors.items() if n.startswith("state.")}
    supernet.load_state_dict(state, assign=True)
    validation = list(zip(part("validation."), part("labels."), strict=True))
    calibration = _batches(tensors, "calibration.")
    deployment = Deployment(supernet, calibration, device=device)
    return SupernetEvaluator(deployment, validation, seed=seed, **options)


def _batches(tensors: Mapping[str, Tensor], kind: str) -> list[Inputs]:
    """The batches of inputs in `tensors` whose names are `kind`, an index, a dot and an input."""
    found: dict[int, dict[str, Tensor]] = {}
    for key in (key for key in tensors if key.startswith(kind)):
        index, _, name = key.removeprefix(kind).partition(".")
        found.setdefault(int(index), {})[name] = tensors[key]
    return [found[index] for index in sorted(found)]


def _shared(array: NDArray[Any]) -> Tensor:
    """A tensor that shares the memory of `array`, which is read-only in a worker."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array)
