"""Arrays of any rank, with classes or values as targets; and the bundled regression."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes

from nas.tasks.arrays import ArraysTask
from nas.tasks.criteria import Classification, Regression
from nas.tasks.diabetes import DiabetesTask
from nas.tasks.task import TaskError
from nas.testing.task import ClassesTaskContract, TaskContract

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(120, 5)) * [1, 10, 100, 1, 0] + [0, 5, 1000, -3, 7]
CLASSES = np.arange(120) % 3
VALUES = FEATURES @ [1.0, 0.5, 0.1, 0.0, 0.0] + 20


def saved(folder, **arrays):
    np.savez(folder / "table.npz", **arrays)
    return folder / "table.npz"


def told(port):
    return torch.tensor(port.scaling.mean), torch.tensor(port.scaling.std)


class TestDiabetes(TaskContract):
    @pytest.fixture
    def section(self):
        return DiabetesTask()

    def test_it_holds_what_scikit_learn_ships(self, task):
        mean, std = told(task.usage.inputs["features"])
        features = (task.train.inputs["features"] * std + mean).numpy()
        mean, std = told(task.usage.output)
        targets = (task.train.targets * std + mean).numpy()
        held = load_diabetes(scaled=False)
        rows = np.column_stack([held.data, held.target])
        for row in np.column_stack([features, targets]):
            assert np.abs(rows - row).max(axis=1).min() < 1e-3
        assert sum(task.sizes().values()) == 442

    def test_the_error_is_in_units_of_the_targets(self, task):
        targets = task.validation.targets
        mean, std = told(task.usage.output)
        losses = task.criterion.losses(torch.zeros_like(targets), targets)
        expected = (targets * std + mean - mean).abs().mean()
        torch.testing.assert_close(losses.mean(), expected.float(), rtol=1e-5, atol=0)


class TestFeaturesOfClasses(ClassesTaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        return ArraysTask(path=saved(tmp_path, x_train=FEATURES, y_train=CLASSES))

    def test_features_have_mean_0_and_deviation_1(self, task):
        features = task.train.inputs["features"].double()
        assert isinstance(task.criterion, Classification)
        torch.testing.assert_close(features.mean(0), torch.zeros(5).double(), atol=1e-5, rtol=0)
        deviations = features.std(0, correction=0)
        torch.testing.assert_close(deviations, torch.tensor([1, 1, 1, 1, 0.0]).double())


class TestSequencesOfFeatures(TaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        x = RNG.normal(loc=[0, 1, 2, 3], size=(150, 7, 4))
        return ArraysTask(
            path=saved(tmp_path, x_train=x, y_train=x.mean(1)), layout="features", unit="mm"
        )

    def test_several_values_are_judged_in_their_deviations(self, task):
        assert (task.inputs[0].shape, task.output) == ((7, 4), (4,))
        assert task.criterion == Regression(unit="standard deviations")
        targets = task.train.targets
        torch.testing.assert_close(targets.mean(0), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(targets.std(0, correction=0), torch.ones(4))


class TestImagesOfValues(TaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        x = RNG.integers(0, 256, size=(120, 6, 6), dtype=np.uint8)
        y = x.mean(axis=(1, 2)).astype(np.float32)
        return ArraysTask(path=saved(tmp_path, x_train=x, y_train=y), unit="grey levels")

    def test_the_unit_is_that_of_the_file(self, task):
        assert task.inputs[0].shape == (1, 6, 6)
        assert task.criterion.error.unit == "grey levels"
        assert task.criterion.scale == pytest.approx(float(told(task.usage.output)[1]))


def test_values_of_images_are_brought_to_one_scale(tmp_path):
    y = RNG.normal(size=(60, 2, 3)) * [1, 10, 100]
    task = ArraysTask(path=saved(tmp_path, x_train=FEATURES[:60], y_train=y)).load()
    assert task.output == (2, 3)
    assert float(task.train.targets.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_whole_numbers_are_values_where_the_recipe_says_so(tmp_path):
    path = saved(tmp_path, x_train=FEATURES, y_train=RNG.integers(18, 90, size=120))
    with pytest.raises(TaskError, match="set target ="):
        ArraysTask(path=path).load()
    assert ArraysTask(path=path, target="regression").load().output == (1,)
    with pytest.raises(
        TaskError, match=r"fewer than 3 samples, one each for train, validation, test: 18 \(1\)"
    ):
        ArraysTask(path=path, target="classes", limit=20).load()


def spoilt(array, value, row=3):
    other = array.copy()
    other[row] = value
    return other


@pytest.mark.parametrize(
    ("arrays", "options", "fault"),
    [
        (
            {"x_train": spoilt(FEATURES, np.nan), "y_train": CLASSES},
            {},
            "features that are NaN.* 3",
        ),
        ({"x_train": FEATURES, "y_train": spoilt(VALUES, np.inf)}, {}, "targets that are NaN.* 3"),
        ({"x_train": FEATURES, "y_train": VALUES[:9]}, {}, "120 samples but targets of shape"),
        ({"x_train": FEATURES, "y_train": np.full(120, 0.5)}, {}, "all the same, 0.5"),
        ({"x_train": FEATURES[:, 0], "y_train": CLASSES}, {}, "give an array"),
        ({"x_train": FEATURES.astype(str), "y_train": CLASSES}, {}, "give numbers"),
        ({"x_train": FEATURES, "y_train": CLASSES}, {"augment": {"shift": 1}}, "augment is for im"),
        ({"x_train": FEATURES, "y_train": VALUES}, {"label_smoothing": 0.2}, "label_smoothing is"),
        ({"x_train": FEATURES, "y_train": CLASSES}, {"unit": "mm"}, "unit is for values"),
        ({"x_train": FEATURES, "y_train": CLASSES.astype(str)}, {"target": "regression"}, "no val"),
        ({"x_train": FEATURES, "y_train": VALUES}, {"target": "classes"}, "no whole numbers"),
        ({"x_train": FEATURES, "y_train": CLASSES}, {"layout": "nhw"}, "layout 'nhw' cannot be"),
        (
            {"x_train": FEATURES, "y_train": VALUES, "x_test": FEATURES, "y_test": FEATURES},
            {},
            r"test targets of shape \(5,\)",
        ),
        (
            {"x_train": FEATURES, "y_train": VALUES, "x_test": FEATURES[:, :4], "y_test": VALUES},
            {},
            r"test inputs of shape",
        ),
    ],
)
def test_what_makes_no_task_is_refused(tmp_path, arrays, options, fault):
    with pytest.raises(TaskError, match=fault):
        ArraysTask(path=saved(tmp_path, **arrays), **options).load()
