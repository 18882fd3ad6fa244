"""`nas.fit`: a trained network of the user's own gets a policy for each device."""

from __future__ import annotations

import json

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import nas
from nas.api.judging import losses, words_of
from nas.archive.archive import ArchiveError
from nas.export.predict import predict
from nas.facts.metric import MetricWords
from nas.own.evaluator import PolicyEvaluator
from nas.own.model import OwnModelError
from nas.own.uniform import FLOAT

IMAGES = torch.randn(64, 2, 6, 6, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(64) % 3


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.conv(x)))
        x = torch.relu(self.body(x)) + x
        return self.head(x.mean((2, 3)))


class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(3, 2), nn.Linear(3, 2)

    def forward(self, a, b):
        return {"sum": self.left(a) + self.right(b), "left": self.left(a)[:, :1]}


def network(kind=Net):
    torch.manual_seed(0)
    return kind().eval()


def loader(*tensors):
    return DataLoader(TensorDataset(*tensors), batch_size=16)


def fit(model=None, **options):
    given = {"calibration": loader(IMAGES, LABELS), "targets": "edge-npu", "budget": 12}
    given["rewrites"] = ("ranges", "nearest", "round-biases")
    return nas.fit(model or network(), **{**given, **options})


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("fit")


@pytest.fixture(scope="module")
def found(storage):
    return fit(storage=storage)


def test_every_uniform_policy_is_evaluated_and_shown(found):
    shown = {*found.frame()["policy"]}
    assert {*found.names.values()} | {"mixed"} == shown
    assert {"float32", "int8", "int4", "int4 weights, int8 activations"} <= shown


def test_the_float_policy_is_the_model_itself(found):
    frame = found.frame().set_index("policy")
    assert frame.loc[FLOAT, "held_out"] < 1e-6
    assert frame.loc["int4", "held_out"] > frame.loc["int8", "held_out"] > 1e-6


def test_without_a_wish_the_answer_is_as_good_as_int8_and_no_dearer(found):
    frame, best = found.frame().set_index("policy"), found.best("edge-npu")
    assert best.metrics["held_out"] <= frame.loc["int8", "held_out"]
    assert best.costs["edge-npu"]["latency_ms"] <= frame.loc["int8", "latency_ms"]
    assert "policy" in best.verdict


def test_no_answer_is_dominated_by_a_uniform_policy(found):
    frame = found.frame().set_index("policy")
    uniform = frame.loc[[*found.names.values()]]
    for limit in np.quantile(frame["latency_ms"], (0.3, 0.6, 0.9)):
        best = found.best(limits={"latency_ms": limit})
        assert best.costs["edge-npu"]["latency_ms"] <= limit
        if best.name == "mixed":
            cheap = uniform[uniform["latency_ms"] <= best.costs["edge-npu"]["latency_ms"]]
            assert (cheap["held_out"] > best.metrics["held_out"]).all()


def test_a_drop_decides_how_cheap(found):
    costs = [
        found.best(allowed_drop=drop).costs["edge-npu"]["latency_ms"] for drop in (0.0, 1.0, 1e9)
    ]
    assert costs == sorted(costs, reverse=True)
    assert found.best(allowed_drop=0.0).metrics["held_out"] < 1e-6
    with pytest.raises(ValueError, match="none of 12 evaluated policies is within the limits"):
        found.best(limits={"latency_ms": 1e-9})


def test_the_module_is_called_like_the_model_and_is_what_is_exported(found, tmp_path):
    best = found.best()
    made = best.export(tmp_path / "model.onnx")
    assert made.figures == pytest.approx(
        {found.metric.name: best.metrics[found.metric.name]}, abs=1e-3
    )
    session = onnxruntime.InferenceSession(made.path)
    [name] = [one.name for one in session.get_inputs()]
    with torch.no_grad():
        own = best.module(IMAGES[:4])
    assert torch.allclose(
        own, torch.tensor(session.run(None, {name: IMAGES[:4].numpy()})[0]), atol=1e-5
    )
    assert not best.module.training


def metadata(path):
    held = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    return {key: json.loads(held[f"elastic_nas.{key}"]) for key in ("inputs", "output")}


def test_a_file_says_what_is_known_of_its_inputs_and_output(found, tmp_path):
    best, path = found.best(), tmp_path / "model.onnx"
    best.export(path)
    told = metadata(path)["inputs"]["x"]
    assert (told["shape"], told["dtype"]) == ([2, 6, 6], "float32")
    assert IMAGES.min() <= told["low"][0] < -2
    assert 2 < told["high"][0] <= IMAGES.max()
    assert "was not told" in told["about"]

    pixels = nas.Port("Pixels.", ("channel", "height", "width"), nas.Scaling((3.0,), (2.0,)))
    answers = nas.Port("The kind of animal.", ("class",), names=("cat", "cow", "dog"))
    best.export(path, usage=nas.Usage({"x": pixels}, answers))
    assert metadata(path)["inputs"]["x"]["mean"] == [3.0]
    assert metadata(path)["output"]["names"] == ["cat", "cow", "dog"]
    raw = (IMAGES * 2 + 3).numpy()
    with torch.no_grad():
        wanted = best.module(IMAGES).argmax(1)
    assert predict(path, raw).tolist() == [answers.names[one] for one in wanted]


def test_a_usage_that_contradicts_the_network_is_refused_before_a_file_is_written(found, tmp_path):
    flat = nas.Port("Pixels.", ("channel",))
    named = nas.Port("The kind of animal.", ("class",), names=("cat", "cow"))
    with pytest.raises(ValueError, match=r"input 'x' names the axes .*output names 2 places"):
        found.best().export(tmp_path / "a.onnx", usage=nas.Usage({"x": flat}, named))
    assert not (tmp_path / "a.onnx").exists()


def test_a_front_a_plot_and_a_report_with_both_kinds_of_samples(found, tmp_path):
    assert (found.front("edge-npu")["latency_ms"].diff().dropna() > 0).all()
    assert found.plot("edge-npu").data
    page = found.report(tmp_path / "report.html").read_text()
    assert "32 samples calibrated the networks, 16 others guided the search, and 16 others" in page
    assert "uniform int8" in page
    assert found.space.size > 12
    assert len(found.archive) == 12


def test_the_same_call_measures_nothing_again(found, storage, monkeypatch):
    monkeypatch.setattr(PolicyEvaluator, "__call__", None)
    again = fit(storage=storage)
    assert again.frame().equals(found.frame())


def test_another_target_reuses_what_was_measured(found, storage):
    other = found.on("datacentre-gpu")
    assert other.archive is found.archive
    assert other.best().costs["datacentre-gpu"]["latency_ms"] > 0
    refusing = found.on("microcontroller")  # which runs no float
    assert refusing.best().name != FLOAT
    told = refusing.frame().set_index("policy")["objection"]
    assert told[FLOAT] == "the device cannot run its formats"
    assert told["int8"] == ""
    assert (found.frame()["objection"] == "").all()
    tight = found.on("edge-npu", limits={"model_bytes": 1.0}).frame()
    assert tight["objection"].str.match("Model size .*, at most 1.00 B$").all()


def test_a_storage_of_another_network_is_refused(found, storage):
    model = network()
    with torch.no_grad():
        model.head.bias += 1
    with pytest.raises(ArchiveError, match="with other weights, samples or rewrites"):
        fit(model, storage=storage)


def accuracy(module):
    with torch.no_grad():
        return float((module(IMAGES).argmax(1) == LABELS).float().mean())


def test_a_metric_of_ones_own_is_better_when_larger():
    fitted = fit(evaluate=accuracy, confirm=accuracy, allowed_drop=0.02, budget=1)
    own = accuracy(network())
    assert fitted.frame().set_index("policy").loc[FLOAT, "score"] == pytest.approx(own)
    best = fitted.best()
    assert best.metrics["score"] >= own - 0.02
    assert best.metrics["held_out"] == best.metrics["score"]


def test_words_tell_the_direction_of_a_metric():
    def figures(module):
        return {"error": 1.0, "further": 2.0}

    model, own = network(), MetricWords("error")
    assert words_of(own, figures, model) is own
    assert losses(figures, model, own) == {"error": 1.0, "further": 2.0}
    larger = words_of("accuracy", lambda module: 92.5, model)
    assert (larger.best, larger.loss(92.5)) == (100.0, 7.5)
    assert words_of(None, lambda module: -0.5, model).loss(-0.5) == 0.5
    assert words_of(None, None, model).unit == "%"


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (torch.ones(1), "evaluate returned .*Tensor.*item"),
        (float("nan"), "returned nan, and every figure must be a finite number"),
        ("good", "returned .*str"),
        ({"accuracy": 1.0}, "without score"),
        (None, "returned .*NoneType"),
    ],
)
def test_a_metric_that_returns_no_number_is_refused_before_any_work(returned, told):
    with pytest.raises(OwnModelError, match=told):
        words_of(None, lambda module: returned, network())


def test_a_metric_that_fails_is_told():
    def failing(module):
        raise KeyError("label")

    with pytest.raises(OwnModelError, match="evaluate failed: KeyError: 'label'"):
        fit(evaluate=failing)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"metric": "accuracy"}, "there is no `evaluate`"),
        ({"keep": "haed"}, "no layer 'haed'.*head"),
        ({"calibration": loader(IMAGES[:4])}, "gives 4 samples, and at least 8"),
        ({"model": network().train()}, "training mode"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused_in_one_sentence(options, told):
    with pytest.raises(OwnModelError, match=told) as refused:
        fit(**options)
    assert "\n" not in str(refused.value)


def test_a_model_whose_flow_depends_on_data_is_refused():
    class Turns(Net):
        def forward(self, x):
            return super().forward(x if x.sum() > 0 else -x)

    with pytest.raises(ValueError, match=r"(?s)^[^\n]*$"):
        fit(network(Turns))


def test_several_inputs_and_outputs_keep_their_names():
    a, b = torch.randn(40, 3), torch.randn(40, 3)
    model = network(Both)
    fitted = fit(model, calibration=[{"a": a, "b": b}], budget=1)
    module = fitted.best(allowed_drop=0.0).module
    with torch.no_grad():
        for found in (module(a=a, b=b), module(a, b)):
            wanted = model(a, b)
            assert found.keys() == wanted.keys()
            for name in wanted:
                assert torch.allclose(found[name], wanted[name], atol=1e-5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"allowed_drop": -0.5}, "allowed_drop .* given -0.5; give 0 or more"),
        ({"samples": 0}, "samples is at least 8.*given 0"),
        ({"limits": {"lateny_ms": 4}}, "no target tells lateny_ms.*latency_ms"),
        ({"confirm": accuracy}, "`confirm` is the figure of `evaluate`"),
        ({"storage": __file__}, "storage is a folder, and .* is a file"),
    ],
)
def test_a_wish_that_makes_no_sense_is_refused_before_anything_is_measured(options, told):
    with pytest.raises(ValueError, match=told):
        fit(**options)
