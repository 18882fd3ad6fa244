"""A task holds samples that fit its inputs, its output and its criterion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.facts.usage import Port, Scaling, Usage
from nas.tasks.criteria import Classification, Regression
from nas.tasks.task import Split, Task, TaskError, TrainSplit
from search_spaces.ops import Input

ROWS = torch.arange(24.0).reshape(8, 3)
VALUES = torch.linspace(0, 1, 8)[:, None]
CLASSES = torch.arange(8) % 2
ROW = (Input("row", (3,)),)


PORT = Port("Numbers.", ("number",))


def task(criterion, output, targets, *, rows=ROWS, inputs=ROW, usage=None) -> Task:
    split = Split({"row": rows}, targets)
    train = TrainSplit(split.inputs, split.targets)
    told = usage or Usage({each.name: PORT for each in inputs}, PORT)
    return Task("made", inputs, output, criterion, train, split, split, told)


def test_a_regression_never_trains_by_cross_entropy() -> None:
    assert task(Regression(), (1,), VALUES).output == (1,)
    with pytest.raises(TaskError, match=r"train split of made: classes must be whole.*regression"):
        task(Classification(), (1,), VALUES)
    with pytest.raises(TaskError, match=r"targets must be measured values.*classification"):
        task(Regression(), (1,), CLASSES[:, None])
    with pytest.raises(TaskError, match=r"shape \('n', 1\)"):
        task(Regression(), (1,), VALUES[:, 0])


@pytest.mark.parametrize(
    ("rows", "inputs", "message"),
    [
        (ROWS.double(), ROW, "float64"),
        (ROWS[:, :2], ROW, r"\(2,\)"),
        (ROWS, (Input("line", (3,)),), "'line'"),
        (ROWS[:5], ROW, "8 targets for {'row': 5} samples"),
        (ROWS, (Input("row", (3,)), Input("more", (3,))), "'more'"),
    ],
)
def test_inputs_are_those_that_the_task_names(rows, inputs, message) -> None:
    with pytest.raises(TaskError, match=message):
        task(Classification(), (2,), CLASSES, rows=rows, inputs=inputs)


def test_augmentation_is_a_function_of_the_batch_and_a_generator() -> None:
    def noisy(batch, rng):
        inputs, targets = batch
        return {"row": inputs["row"] + float(rng.random())}, targets

    train = TrainSplit({"row": ROWS}, CLASSES, noisy)
    inputs, targets = train.batch(np.array([5, 2]), np.random.default_rng(0))
    assert torch.equal(targets, CLASSES[[5, 2]])
    assert torch.equal(inputs["row"], ROWS[[5, 2]] + float(np.random.default_rng(0).random()))
    assert train.to("cpu").augment is noisy


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (Usage({}, PORT), r"tells of the inputs \[\], but there are \['row'\]"),
        (Usage({"row": Port("", ("number",))}, PORT), "input 'row' says nothing"),
        (Usage({"row": Port("Rows.", ())}, PORT), r"names the axes \(\)"),
        (
            Usage({"row": Port("Rows.", ("x",), Scaling((0, 0), (1, 1)))}, PORT),
            "2 means for 3 places",
        ),
        (
            Usage({"row": Port("Rows.", ("x",), Scaling((0,) * 3, (1,) * 3, 1))}, PORT),
            "3 means for 0 places",
        ),
        (Usage({"row": PORT}, Port("Classes.", ("class",), names=("a",))), "names 1 places"),
        (Usage({"row": Port("Rows.", ("x",), low=(1.0,))}, PORT), "1 least and 0 largest"),
    ],
)
def test_what_files_would_tell_fits_inputs_and_output(usage, message) -> None:
    with pytest.raises(TaskError, match=message):
        task(Classification(), (2,), CLASSES, usage=usage)


@pytest.mark.parametrize(
    ("mean", "std"), [((), ()), ((0,), (1, 1)), ((0,), (0,)), ((np.nan,), (1,))]
)
def test_a_scaling_has_finite_means_and_positive_deviations(mean, std) -> None:
    with pytest.raises(ValueError, match=r"deviations"):
        Scaling(mean, std)
