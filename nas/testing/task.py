"""What every kind of task section promises; a new kind inherits this with its own `section`."""

import numpy as np
import pytest
import torch

from nas.tasks.section import SplitSection
from nas.tasks.task import TaskError


def rows_of(images):
    return {tuple(image.flatten().tolist()) for image in images}


class TaskContract:
    """Give a `section` whose images are all different, with at least 30 of each of its classes."""

    @pytest.fixture
    def section(self) -> SplitSection:
        raise NotImplementedError

    @pytest.fixture
    def task(self, section):
        return section.load()

    def test_images_are_square_floats_of_one_shape(self, task):
        shape = (task.channels, task.image_size, task.image_size)
        for images, labels in (*task.batches("train", 7), *task.test_batches(7)):
            assert images.shape[1:] == shape
            assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
            assert torch.isfinite(images).all()

    def test_train_is_normalised_per_channel(self, task):
        images = task.train.images
        torch.testing.assert_close(
            images.mean((0, 2, 3)), torch.zeros(task.channels), atol=1e-4, rtol=0
        )
        torch.testing.assert_close(
            images.std((0, 2, 3)), torch.ones(task.channels), atol=1e-2, rtol=0
        )

    def test_labels_number_the_classes(self, task):
        assert len(task.class_names) == task.classes
        assert task.train.labels.unique().tolist() == list(range(task.classes))

    def test_no_image_is_in_two_splits(self, task):
        train, validation = rows_of(task.train.images), rows_of(task.validation.images)
        test = rows_of(torch.cat([images for images, _ in task.test_batches(50)]))
        assert not train & validation
        assert not test & (train | validation)
        assert task.sizes() == {
            "train": len(task.train),
            "validation": len(task.validation),
            "test": sum(len(labels) for _, labels in task.test_batches(50)),
        }

    def test_loading_again_gives_the_same(self, section, task):
        again = section.load()
        assert torch.equal(task.train.images, again.train.images)
        assert torch.equal(task.validation.labels, again.validation.labels)

    def test_batches_hold_every_image_once(self, task):
        plain = torch.cat([images for images, _ in task.batches("validation", 4)])
        assert torch.equal(plain, task.validation.images)
        mixed = task.batches("validation", 4, rng=np.random.default_rng(0))
        assert rows_of(torch.cat([images for images, _ in mixed])) == rows_of(plain)

    def test_a_search_is_not_given_test(self, task):
        with pytest.raises(TaskError, match="test_batches"):
            task.batches("test", 8)

    def test_limit_keeps_classes_in_proportion(self, section):
        limit = 10 * section.load().classes
        counts = section.model_copy(update={"limit": limit}).load().train.labels.bincount()
        assert counts.sum() == limit
        assert counts.min() >= 5

    def test_training_batches_follow_their_generator(self, section):
        augment = section.augment.model_copy(update={"shift": 1, "flip": True})
        train = section.model_copy(update={"augment": augment}).load().train
        rows = np.arange(16)
        first, labels = train.batch(rows, np.random.default_rng(3))
        again, _ = train.batch(rows, np.random.default_rng(3))
        other, _ = train.batch(rows, np.random.default_rng(4))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
        assert torch.equal(labels, train.labels[:16])

    def test_calibration_images_are_the_first_of_train(self, task):
        batches = task.calibration(20, 8)
        assert [len(images) for images in batches] == [8, 8, 4]
        assert torch.equal(torch.cat(batches), task.train.images[:20])
