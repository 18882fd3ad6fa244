"""Loaders of all forms are read alike; what is no loader is refused by one sentence."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from nas.own.model import OwnModelError
from nas.own.network import traced
from nas.own.samples import samples_of

IMAGES = torch.arange(60.0).reshape(20, 3)
LABELS = torch.arange(20)


class Two(nn.Module):
    def forward(self, left, right):
        return {"sum": left + right, "first": left[:, :1]}


class Tokens(nn.Module):
    def forward(self, input_ids, attention_mask=None):
        return input_ids.float()


def read(loader, model=None, *, most=100, least=4):
    return samples_of(loader, model or nn.Linear(3, 2).eval(), most=most, least=least)


@pytest.mark.parametrize(
    "loader",
    [
        IMAGES,
        [IMAGES[:8], IMAGES[8:]],
        DataLoader(TensorDataset(IMAGES, LABELS), batch_size=6),
        DataLoader(TensorDataset(IMAGES), batch_size=6),
        [{"input": IMAGES, "label": LABELS}],
        [({"input": IMAGES}, LABELS)],
        ((IMAGES[i : i + 5], "a label") for i in range(0, 20, 5)),
    ],
)
def test_every_form_of_loader_gives_the_same_samples(loader):
    found = read(loader)
    assert len(found) == 20
    assert torch.equal(found.tensors[0], IMAGES)


def test_several_inputs_by_place_and_by_name():
    places = read([(IMAGES, IMAGES + 1, LABELS)], Two())
    named = read([{"right": IMAGES + 1, "left": IMAGES, "y": LABELS}], Two())
    together = read([((IMAGES, IMAGES + 1), LABELS)], Two())
    for found in (places, named, together):
        assert torch.equal(found.tensors[1] - found.tensors[0], torch.ones(20, 3))
    assert named.names == ("left", "right")
    assert isinstance(places.given(), list)


def test_only_what_is_needed_is_read():
    def endless():
        while True:
            yield IMAGES

    assert len(read(endless(), most=50)) == 50
    assert read([{"input_ids": LABELS[:, None]}], Tokens()).names == ("input_ids",)


def test_parts_are_disjoint_and_complete():
    parts = read(IMAGES).parted((0.5, 0.25))
    assert [len(part) for part in parts] == [10, 5, 5]
    firsts = torch.cat([part.tensors[0][:, 0] for part in parts])
    assert torch.equal(firsts.sort().values, IMAGES[:, 0])
    again = read(IMAGES).parted((0.5, 0.25))
    assert torch.equal(again[0].tensors[0], parts[0].tensors[0])


@pytest.mark.parametrize(
    ("loader", "told"),
    [
        ("photos/", "given str"),
        (7, "given int"),
        ([], "gives no samples, and at least 4"),
        (IMAGES[:3], "gives 3 samples, and at least 4"),
        ([7], "given int"),
        ([[]], "given list"),
        ([{"image": IMAGES}], "has image, but the model needs input"),
        ([IMAGES, torch.zeros(5, 4)], r"\(3,\) and then of \(4,\)"),
        (torch.zeros(8, 5), r"does not run on samples of the shape \(5,\).*RuntimeError"),
        (LABELS.to(torch.uint8)[:, None], "type uint8"),
        (IMAGES / 0, "NaN or infinity"),
        (torch.tensor(1.0), "first axis"),
    ],
)
def test_what_is_no_loader_is_refused(loader, told):
    with pytest.raises(OwnModelError, match=told):
        read(loader)


def test_too_few_inputs_are_refused_by_name():
    with pytest.raises(OwnModelError, match="has 1 tensors, but the model needs 2: left, right"):
        read([IMAGES], Two())


class Odd(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x):
        return self.output(x)


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (lambda x: 1.0, "gives float"),
        (lambda x: (x, "text"), "gives tuple"),
        (lambda x: x.mean(), r"shape \(\) for 2 samples"),
        (lambda x: x.flatten(), r"shape \(6,\) for 2 samples"),
        (lambda x: x / 0, "gives NaN or infinity"),
    ],
)
def test_a_model_with_odd_outputs_is_refused(output, told):
    with pytest.raises(OwnModelError, match=told):
        read(IMAGES + 1, Odd(output))


@pytest.mark.parametrize(("macs", "counts"), [(1 << 36, [100, 50, 50]), (1, [64, 32, 32])])
def test_a_network_of_many_products_gets_few_samples(macs, counts, monkeypatch):
    monkeypatch.setattr("nas.own.network._MACS", macs)
    shown = torch.randn(200, 3)
    parts = samples_of(shown, nn.Linear(3, 2).eval(), most=200, least=4).parted((0.5, 0.25))
    made = traced(nn.Linear(3, 2).eval(), *parts, rewrites=("nearest",)).with_few_samples()
    assert [len(part) for part in (made.calibration, *made.judging)] == counts


def test_a_loader_that_fails_or_gives_no_numbers_is_told():
    def failing():
        yield IMAGES
        raise OSError("disk gone")

    with pytest.raises(OwnModelError, match="failed while it gave batches: OSError: disk gone"):
        read(failing(), most=10_000)
    with pytest.raises(OwnModelError, match="on meta"):
        read(IMAGES.to("meta"))
