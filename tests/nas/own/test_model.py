"""A user's network that cannot be used is refused before any work, by one sentence."""

import pytest
import torch
from torch import nn

from nas.own.model import OwnModelError, forward_names, require_layers, require_model


def network():
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU()).eval()


def broken():
    model = network()
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    return model


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (network().state_dict(), "a model is a torch module, given OrderedDict"),
        (nn.Linear, "given type"),
        (nn.Sequential(nn.ReLU()).eval(), "no parameters"),
        (network().train(), r"in training mode \(the model, 0, 1, and 1 more\); call model.eval"),
        (network().to("meta"), r"on the device meta \(0.weight.*give model.cpu"),
        (network().half(), r"of the type float16 \(0.weight.*give model.float"),
        (broken(), r"holds NaN or infinity \(0.weight\)"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused(model, told):
    with pytest.raises(OwnModelError, match=told):
        require_model(model)


def test_everything_wrong_is_told_at_once():
    with pytest.raises(OwnModelError, match=r"training mode.*float16"):
        require_model(network().train().half())


def test_one_layer_in_training_mode_is_told_by_name():
    model = network()
    model[1].train()
    with pytest.raises(OwnModelError, match=r"\(1\)"):
        require_model(model)


def test_a_model_that_can_be_used_is_returned_itself():
    model = network()
    assert require_model(model) is model


def test_layers_to_leave_alone_are_there():
    assert require_layers(network(), ["0"]) == ("0",)
    model = nn.ModuleDict({"head": nn.Linear(1, 1), "body": nn.Linear(1, 1)})
    with pytest.raises(OwnModelError, match=r"no layer 'haed'.*similar names are head"):
        require_layers(model, ["haed"])


def test_arguments_of_forward():
    class Two(nn.Module):
        def forward(self, image, mask, scale=1.0, *, loud=False):
            return image

    assert forward_names(Two()) == (("image", "mask", "scale"), 2)
