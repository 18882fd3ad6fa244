"""The test figures of simple answers to the tasks of shipped recipes, as a Markdown table.

    python -m benchmarks.simple_answers

An answer is fitted to the training split and judged on the test split by the task's own criterion,
as an exported file is. The script reads the files that `runs/*.toml` name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV
from torch import Tensor

from nas.recipe.recipe import load_recipe
from nas.tasks import Task
from supernets.inputs import Inputs

RUNS = Path(__file__).parent.parent / "runs"
BATCH = 512
Answer = Callable[[Inputs], Tensor]


def constant(values: Tensor) -> Answer:
    """The answer that gives `values` to every sample."""

    def answer(inputs: Inputs) -> Tensor:
        count = len(next(iter(inputs.values())))
        return values.expand(count, *values.shape)

    return answer


def mean(task: Task) -> Answer:
    """The mean of the training targets."""
    return constant(task.train.targets.mean(dim=0))


def ridge(task: Task) -> Answer:
    """Ridge regression, whose penalty is chosen by leaving out one training sample at a time."""
    fitted = RidgeCV(alphas=[10.0**power for power in range(-3, 4)])
    fitted.fit(task.train.inputs["features"].numpy(), task.train.targets.flatten().numpy())
    return lambda inputs: torch.from_numpy(fitted.predict(inputs["features"].numpy()))[:, None]


def larger_class(task: Task) -> Answer:
    """The class that most training samples have."""
    return constant(task.train.targets.bincount(minlength=task.output[0]).float())


def _shares(task: Task) -> Tensor:
    """The frequency of each token, `(vocabulary,)`, each counted once more than it occurs."""
    counts = task.train.targets.flatten().bincount(minlength=task.output[-1]) + 1.0
    return counts / counts.sum()


def frequencies(task: Task) -> Answer:
    """The frequency of each token in the training text."""
    return constant(_shares(task).log().expand(*task.output))


def pairs(task: Task) -> Answer:
    """The frequency of each token behind the token before, as if one more had been drawn there."""
    vocabulary = task.output[-1]
    both = task.train.inputs["tokens"] * vocabulary + task.train.targets
    counts = both.flatten().bincount(minlength=vocabulary**2).reshape(-1, vocabulary)
    smoothed = counts + _shares(task)
    table = (smoothed / smoothed.sum(dim=1, keepdim=True)).log()
    return lambda inputs: table[inputs["tokens"]]


def resized(mode: str) -> Callable[[Task], Answer]:
    """The input image, resized to the size of the output."""

    def fitted(task: Task) -> Answer:
        size = task.output[1:]
        return lambda inputs: F.interpolate(inputs["image"], size, mode=mode)

    return fitted


ANSWERS: Mapping[str, Mapping[str, Callable[[Task], Answer]]] = {
    "diabetes": {"mean of the training targets": mean, "ridge regression": ridge},
    "sst2": {"larger class": larger_class},
    "shakespeare": {"frequencies of bytes": frequencies, "frequencies of pairs of bytes": pairs},
    "cifar10-pairs": {
        "bilinear interpolation": resized("bilinear"),
        "bicubic interpolation": resized("bicubic"),
    },
}


def figure_on_test(task: Task, answer: Answer) -> str:
    """The shown figure of an answer on the test split."""
    losses = [
        task.criterion.losses(answer(inputs), targets)
        for inputs, targets in task.test_batches(BATCH)
    ]
    return task.criterion.shown.text(float(torch.cat(losses).mean()))


def main() -> None:
    """Print the table."""
    print("| recipe | simple answer | figure on test |")
    print("| --- | --- | --- |")
    for name, answers in ANSWERS.items():
        task = load_recipe(RUNS / f"{name}.toml").task.load()
        for said, fit in answers.items():
            figure = f"{task.criterion.shown.name} {figure_on_test(task, fit(task))}"
            print(f"| `runs/{name}.toml` | {said} | {figure} |")


if __name__ == "__main__":
    main()
