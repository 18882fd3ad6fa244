"""The contract of a kind of task, which is a section of a recipe."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.tasks.facts import facts_of_task
from nas.tasks.images import ImageSection
from nas.tasks.section import SplitSection
from nas.tasks.task import Task, TaskError
from supernets.inputs import Inputs


def rows_of(*batches: Inputs) -> set[tuple[float, ...]]:
    """The distinct samples of some batches."""
    flat = (torch.cat([x.flatten(1) for x in batch.values()], dim=1) for batch in batches)
    return {tuple(row) for rows in flat for row in rows.tolist()}


class TaskContract:
    """The tests of a kind of task.

    A subclass gives the fixture `section`, with at least 60 training samples, no two of them equal.
    """

    @pytest.fixture
    def section(self) -> SplitSection:
        raise NotImplementedError("a subclass gives the section under test")

    @pytest.fixture
    def task(self, section: SplitSection) -> Task:
        return section.load()

    def test_batches_are_those_of_the_inputs_and_the_criterion(self, task: Task) -> None:
        for inputs, targets in (*task.batches("train", 7), *task.test_batches(7)):
            assert [*inputs] == [wanted.name for wanted in task.inputs]
            for wanted in task.inputs:
                read = inputs[wanted.name]
                assert (tuple(read.shape[1:]), str(read.dtype)) == (
                    tuple(wanted.shape),
                    f"torch.{wanted.dtype}",
                )
                assert torch.isfinite(read).all()
            task.criterion.check(task.output, targets)

    def test_what_was_read_is_told(self, section: SplitSection, task: Task) -> None:
        told, again = facts_of_task(task), facts_of_task(section.load())
        assert {name: split.samples for name, split in told.splits.items()} == task.sizes()
        assert told == again
        assert len({split.digest for split in told.splits.values()}) == len(told.splits)
        for split in told.splits.values():
            assert not split.classes or sum(split.classes.values()) == split.samples

    def test_a_guess_at_the_targets_is_finite(self, task: Task) -> None:
        assert 0.0 < task.criterion.guess(task.train.targets) < math.inf

    def test_every_answer_is_judged(self, task: Task) -> None:
        _, targets = next(task.batches("validation", 5))
        out = torch.randn(len(targets), *task.output, generator=torch.Generator().manual_seed(0))
        losses = task.criterion.losses(out, targets)
        assert losses.shape == (len(targets),)
        assert (torch.isfinite(losses) & (losses >= 0)).all()
        assert torch.isfinite(task.criterion.loss(out, targets))

    def test_no_sample_is_in_two_splits(self, task: Task) -> None:
        train, validation = rows_of(task.train.inputs), rows_of(task.validation.inputs)
        test = rows_of(*(inputs for inputs, _ in task.test_batches(50)))
        assert not train & validation
        assert not test & (train | validation)
        assert task.sizes() == {
            "train": len(task.train),
            "validation": len(task.validation),
            "test": sum(len(targets) for _, targets in task.test_batches(50)),
        }

    def test_loading_again_gives_the_same(self, section: SplitSection, task: Task) -> None:
        # A resolved recipe states every key, also those that mean nothing for such data.
        again = type(section).model_validate(section.model_dump(mode="json")).load()
        for name, values in task.train.inputs.items():
            assert torch.equal(values, again.train.inputs[name])
        assert torch.equal(task.validation.targets, again.validation.targets)

    def test_another_seed_gives_another_order(self, section: SplitSection, task: Task) -> None:
        other = section.model_copy(update={"seed": section.seed + 1}).load()
        assert other.sizes() == task.sizes()
        for name, values in task.train.inputs.items():
            assert not torch.equal(values, other.train.inputs[name])

    def test_what_files_tell_is_json(self, task: Task) -> None:
        told = task.stated()
        assert json.loads(json.dumps(told, allow_nan=False)) == told

    def test_raw_numbers_of_training_are_within_the_range_that_files_tell(self, task: Task) -> None:
        sides = [(port, task.train.inputs[name]) for name, port in task.usage.inputs.items()]
        for port, values in (*sides, (task.usage.output, task.train.targets)):
            if port.scaling is None:
                continue
            raw = port.scaling.undone(values.numpy())
            column = (-1, *(1,) * (raw.ndim - 2 - port.scaling.axis))
            low, high = (np.reshape(end, column) for end in (port.low, port.high))
            slack = 1e-5 * np.maximum(1.0, np.abs(high - low))
            assert ((low - slack <= raw) & (raw <= high + slack)).all()
            assert (raw.min(), raw.max()) == pytest.approx((low.min(), high.max()), abs=slack.max())

    def test_scaled_inputs_have_mean_0_and_deviation_1(self, task: Task) -> None:
        for name, port in task.usage.inputs.items():
            if port.scaling is not None:
                assert abs(float(task.train.inputs[name].mean())) < 0.05
                assert float(task.train.inputs[name].std()) < 1.05

    def test_batches_hold_every_sample_once(self, task: Task) -> None:
        plain = [inputs for inputs, _ in task.batches("validation", 4)]
        for name, values in task.validation.inputs.items():
            assert torch.equal(torch.cat([inputs[name] for inputs in plain]), values)
        mixed = task.batches("validation", 4, rng=np.random.default_rng(0))
        assert rows_of(*(inputs for inputs, _ in mixed)) == rows_of(*plain)

    def test_a_search_is_not_given_test(self, task: Task) -> None:
        with pytest.raises(TaskError, match="test_batches"):
            task.batches("test", 8)  # pyright: ignore[reportArgumentType]

    def test_limit_is_the_number_of_training_samples(self, section: SplitSection) -> None:
        limited = section.model_copy(update={"limit": 40}).load()
        assert len(limited.train) == 40

    def test_training_batches_follow_their_generator(self, task: Task) -> None:
        rows = np.arange(16)
        first, targets = task.train.batch(rows, np.random.default_rng(3))
        again, same = task.train.batch(rows, np.random.default_rng(3))
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert torch.equal(targets, same)

    def test_calibration_shows_the_first_of_train_always_in_the_same_way(self, task: Task) -> None:
        rows, rng = np.arange(20), np.random.default_rng(0)
        shown = [task.train.batch(rows[place], rng)[0] for place in np.split(rows, [8, 16])]
        for _ in range(2):
            batches = task.calibration(20, 8)
            for name in task.train.inputs:
                assert [len(batch[name]) for batch in batches] == [8, 8, 4]
                pairs = zip(batches, shown, strict=True)
                assert all(torch.equal(one[name], other[name]) for one, other in pairs)


class ClassesTaskContract(TaskContract):
    """The tests of a kind of task whose targets are classes, with at least 30 samples of each."""

    def test_targets_number_the_classes(self, task: Task) -> None:
        (classes,) = task.output
        assert len(task.usage.output.names) == classes
        assert task.train.targets.unique().tolist() == list(range(classes))

    def test_limit_keeps_classes_in_proportion(self, section: SplitSection, task: Task) -> None:
        limit = 10 * task.output[0]
        counts = section.model_copy(update={"limit": limit}).load().train.targets.bincount()
        assert counts.sum() == limit
        assert counts.min() >= 5


class ImageTaskContract(ClassesTaskContract):
    """The tests of a kind of image classification, with at least 30 samples of each class."""

    @pytest.fixture
    def section(self) -> ImageSection:
        raise NotImplementedError("a subclass gives the section under test")

    @staticmethod
    def images_of(task: Task) -> Tensor:
        (images,) = task.train.inputs.values()
        return images

    def test_images_are_square_floats(self, task: Task) -> None:
        (read,) = task.inputs
        assert (read.name, read.dtype, len(read.shape)) == ("image", "float32", 3)
        assert read.shape[1] == read.shape[2]

    def test_train_is_normalised_per_channel(self, task: Task) -> None:
        images = self.images_of(task)
        channels = torch.zeros(images.shape[1])
        torch.testing.assert_close(images.mean((0, 2, 3)), channels, atol=1e-4, rtol=0)
        torch.testing.assert_close(images.std((0, 2, 3)), channels + 1, atol=1e-2, rtol=0)

    def test_augmentation_follows_its_generator(self, section: ImageSection) -> None:
        augment = section.augment.model_copy(update={"shift": 1, "flip": True})
        train = section.model_copy(update={"augment": augment}).load().train
        rows = np.arange(16)
        batches = [train.batch(rows, np.random.default_rng(seed)) for seed in (3, 3, 4)]
        first, again, other = (inputs["image"] for inputs, _ in batches)
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert torch.equal(batches[0][1], train.targets[:16])
