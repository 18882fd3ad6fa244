"""Networks of torchvision and timm by name, with what these packages know of their images."""

from __future__ import annotations

import importlib.util
import sys
from importlib.metadata import PackageNotFoundError

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from benchmarks.own_model.families import prepare_torchvision
from nas.drafting.own_model import OwnAsked, model_recipe
from nas.own import packages, scalings
from nas.own.model import OwnModelError
from nas.own.packages import PACKAGES, KnownImages
from nas.own.sources import network_of, require_trained
from nas.recipe.sections import TaskSection, section


@pytest.fixture(scope="module")
def _both():
    if any(importlib.util.find_spec(name) is None for name in PACKAGES):
        pytest.skip("torchvision or timm is not installed")
    prepare_torchvision()


@pytest.fixture(scope="module")
def weights(_both, tmp_path_factory):
    """Weights of a network for three classes."""
    torch.manual_seed(0)
    model = PACKAGES["timm"].make("test_resnet", num_classes=3)
    path = tmp_path_factory.mktemp("weights") / "w.safetensors"
    save_file(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos")
    for name in ("cat", "cow", "dog"):
        (path / name).mkdir()
        for number in range(8):
            pixels = np.random.default_rng(number).integers(0, 255, (10, 16, 3), np.uint8)
            Image.fromarray(pixels).save(path / name / f"{number}.png")
    return path


@pytest.mark.usefixtures("_both")
def test_packages_tell_how_they_give_images_to_a_network():
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    wanted = KnownImages((3, 224, 224), "crop", 0.875, mean, std)
    assert PACKAGES["torchvision"].images("resnet18") == wanted
    assert PACKAGES["torchvision"].images("fcn_resnet50") is None  # which does not classify
    assert PACKAGES["timm"].images("mobilenetv3_small_100") == wanted
    squashed = PACKAGES["timm"].images("convnextv2_nano.fcmae_ft_in22k_in1k_384")
    assert (squashed.shape[1], squashed.fit, squashed.crop_share) == (384, "stretch", 1.0)


def test_a_recipe_takes_size_cut_scaling_and_classes_without_asking(weights, photos):
    asked = OwnAsked("timm:test_resnet", weights, photos, targets=("edge-npu",))
    recipe = model_recipe(asked, ask=lambda text, *, key, default=None, **_: default)
    task = recipe.task
    assert (task.image_size, task.fit, task.crop_share, task.channels) == (160, "crop", 0.95, 3)
    assert recipe.model.options == {"num_classes": 3}
    assert (recipe.model.divide, recipe.model.mean) == (255, (0.5, 0.5, 0.5))


@pytest.mark.parametrize(("error", "name"), [(31.0, "stated"), (29.0, "pixels from -1 to 1")])
def test_what_a_package_says_gives_way_to_what_is_clearly_better(monkeypatch, error, name):
    task = section(TaskSection, "digits")(kind="digits").load()
    errors = iter([40.0, error, *[50.0] * 9])  # under what is stated, and under all usual ones
    monkeypatch.setattr(scalings, "losses", lambda *_: np.full(4, next(errors)))
    stated = scalings.Preparation("stated", 255, (0.4,), (0.3,))
    best, told = scalings.best_preparation(None, task, stated=stated)
    assert best.name == name
    assert told["stated"] == 40


def test_weights_for_other_classes_than_the_data_have_are_refused(weights, photos, tmp_path):
    for name in ("cat", "cow"):
        (tmp_path / name).symlink_to(photos / name)
    asked = OwnAsked("timm:test_resnet", weights, tmp_path, targets=("edge-npu",))
    with pytest.raises(OwnModelError, match=r"fc.weight \(3, 96\) for \(2, 96\).*have 2 classes"):
        model_recipe(asked, ask=lambda text, *, key, default=None, **_: default)


@pytest.mark.usefixtures("_both")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("timm:test_resnett", "timm has no network 'test_resnett'; similar ones are test_resnet"),
        ("timm:test_resnet.no_such", "no_such.*leave the tag"),
        ("torchvision:resnet19", "torchvision has no network 'resnet19'.*resnet18"),
        ("timm:test_resnet", "has random weights.*give a file of weights, .*pretrained = true"),
        ("torchvision:resnet18", 'has random weights.*weights = "DEFAULT"'),
    ],
)
def test_networks_that_are_not_there_or_not_trained_are_refused(name, told):
    with pytest.raises(OwnModelError, match=told):
        network_of(name, options={}, weights=None, beside=None)


def test_a_package_that_is_missing_or_broken_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(packages, "version", lambda name: "1.0")
    with pytest.raises(OwnModelError, match=r"timm 1\.0 is installed, but fails beside torch"):
        require_trained("timm:resnet18", {}, None)

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(packages, "version", missing)
    with pytest.raises(OwnModelError, match="timm is not installed; run: pip install timm"):
        require_trained("timm:resnet18", {}, None)
