"""The evaluator for subnets of a trained supernet, in this process or, by a factory, in others."""

from __future__ import annotations

import os
import socket
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nas.evaluation.answers import Answers, estimated_error, hopeless
from nas.evaluation.apart import shared_tensor
from nas.evaluation.evaluation import (
    Arrays,
    Evaluation,
    EvaluationError,
    EvaluatorFactory,
    RivalOf,
    no_rival,
)
from nas.tasks.criterion import Criterion, figures
from search_spaces.space import Genotype, SearchSpace
from supernets.deploy import Deployment
from supernets.inputs import Inputs, to_device
from supernets.quantizers import Quantizer
from supernets.supernet import Supernet


class SupernetEvaluator:
    """An evaluator of subnets as they ship: extracted, recalibrated and with folded batch norms.

    On the validation split, the evaluator measures the criterion's `error`; `loss`, the mean loss
    without regularisation; and further metrics of the criterion. Every genotype is measured alone
    and from the same random state, so its result does not depend on other genotypes.

    Args:
        deployment: Makes the networks to measure, on its device.
        validation: Batches of inputs and targets; a search sees no other data. A subnet may be
            stopped between two batches.
        criterion: The criterion of the task.
        further: The names of the criterion's further metrics to measure.
        seed: The seed of the run, stored in every evaluation.
        threads: The number of torch's threads while measuring; `None` changes nothing.
        whole: The number of samples that the search shows; the others are held back.
    """

    def __init__(
        self,
        deployment: Deployment,
        validation: Sequence[tuple[Inputs, Tensor]],
        *,
        criterion: Criterion,
        further: Sequence[str] = (),
        seed: int,
        threads: int | None = None,
        whole: int | None = None,
    ) -> None:
        if not sum(len(targets) for _, targets in validation):
            raise ValueError(
                f"a supernet evaluator needs validation samples, given {len(validation)} batches"
            )
        known = figures(criterion)
        if unknown := sorted({*further} - {*criterion.further}):
            raise ValueError(
                f"the criterion has no further metrics {', '.join(unknown)}; name some of "
                f"{', '.join(criterion.further) or 'none'}"
            )
        self._deployment, device = deployment, deployment.device
        self._validation = [(to_device(x, device), y.to(device)) for x, y in validation]
        self._criterion, self._named = criterion, tuple(further)
        self._further = {known[name].metric: criterion.further[name] for name in further}
        self._seed = seed
        self._threads = threads
        self._whole = whole or sum(len(targets) for _, targets in validation)

    def __call__(
        self, genotypes: Iterable[Genotype], rival_of: RivalOf = no_rival
    ) -> Iterator[list[Evaluation]]:
        """Evaluations, one per genotype, in the order of `genotypes`, each made when asked for.

        For an evaluation that is stopped, `error` is `estimated_error`, and all other
        metrics are those of the samples seen.
        """
        for genotype in genotypes:
            start = time.perf_counter()
            try:
                with _pinned(self._threads):
                    rival = rival_of(genotype)
                    metrics, answers = self._measured(genotype, rival and rival.answers)
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
        losses, total, outputs = np.zeros(0, dtype=np.float32), 0.0, list[Tensor]()
        with torch.inference_mode():
            for inputs, targets in self._validation:
                output = module(**inputs)
                found = self._criterion.losses(output, targets).cpu().numpy()
                losses = np.concatenate([losses, found])
                total += float(self._criterion.total(output, targets))
                outputs += [output] if self._further else []
                if self._hopeless(Answers.of(losses, self._whole), rival):
                    break
            further = self._further_metrics(outputs)
        answers = Answers.of(losses, self._whole)
        metrics = {"error": estimated_error(answers, rival), "loss": total / len(losses)}
        return {**metrics, **further}, answers

    def _hopeless(self, answers: Answers, rival: Answers | None) -> bool:
        return rival is not None and rival.whole == self._whole and hopeless(answers, rival)

    def _further_metrics(self, outputs: Sequence[Tensor]) -> dict[str, float]:
        """The losses of further metrics by name, from the outputs for the first batches."""
        if not self._further:
            return {}
        out = torch.cat([*outputs])
        target = torch.cat([targets for _, targets in self._validation[: len(outputs)]])
        return {name: metric.compute(out, target) for name, metric in self._further.items()}

    def factory(self) -> EvaluatorFactory:
        """The factory that builds this evaluator in another process."""
        supernet = self._deployment.supernet
        tensors = {f"state.{name}": t for name, t in supernet.state_dict().items()}
        for index, batch in enumerate(self._deployment.calibration):
            tensors |= {f"calibration.{index}.{name}": x for name, x in batch.items()}
        for index, (inputs, targets) in enumerate(self._validation):
            tensors |= {f"validation.{index}.{name}": x for name, x in inputs.items()}
            tensors[f"targets.{index}"] = targets
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}
        build = partial(
            _rebuilt,
            space=supernet.space,
            quantizer=supernet.quantizer,
            seed=self._seed,
            device=str(self._deployment.device),
            criterion=self._criterion,
            further=self._named,
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
    arrays: Arrays,
    *,
    space: SearchSpace,
    quantizer: type[Quantizer],
    seed: int,
    device: str,
    **options: Any,
) -> SupernetEvaluator:
    tensors = {name: shared_tensor(array) for name, array in arrays.items()}
    supernet = Supernet(space, seed=seed, quantizer=quantizer)
    state = {n.removeprefix("state."): t for n, t in tensors.items() if n.startswith("state.")}
    supernet.load_state_dict(state, assign=True)
    inputs = _batches(tensors, "validation")
    validation = [(x, tensors[f"targets.{index}"]) for index, x in enumerate(inputs)]
    deployment = Deployment(supernet, _batches(tensors, "calibration"), device=device)
    return SupernetEvaluator(deployment, validation, seed=seed, **options)


def _batches(tensors: Mapping[str, Tensor], kind: str) -> list[Inputs]:
    """The batches of one kind, in their order, from tensors called `kind.index.input`."""
    found = defaultdict[int, dict[str, Tensor]](dict)
    for name, tensor in tensors.items():
        head, _, rest = name.partition(".")
        if head == kind:
            index, _, which = rest.partition(".")
            found[int(index)][which] = tensor
    return [found[index] for index in sorted(found)]
