"""A whole run of a task with two inputs, an image and a few tokens, of a user's own."""

from __future__ import annotations

import onnx
import pytest
import torch

from nas import parts
from nas.facts.usage import Port, Usage
from nas.ort import onnxruntime
from nas.parts import register
from nas.report.store import load
from nas.tasks import Split, Task, TrainSplit
from nas.tasks.criteria import Classification
from search_spaces.ops import Input
from tests.nas.runs import TINY, evaluations, nas, settings, succeeded
from tests.supernets.test_inputs import both

CLASSES = 5
OVERRIDES = ('task={kind="captioned"}', 'space={family="captioned"}')


def captioned() -> Task:
    """Images whose brightness and whose first token make up the class."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 9, (160, 4), generator=generator)
    bright = torch.randint(0, 2, (160,), generator=generator)
    images = 0.1 * torch.randn(160, 3, 8, 8, generator=generator) + bright.reshape(-1, 1, 1, 1)
    samples = {"image": images, "tokens": tokens}, (bright + tokens[:, 0] // 3)
    train, validation, test = (
        ({name: x[span] for name, x in samples[0].items()}, samples[1][span])
        for span in (slice(96), slice(96, 128), slice(128, 160))
    )
    return Task(
        name="captioned",
        inputs=(Input("image", (3, 8, 8)), Input("tokens", (4,), "int64", 9)),
        output=(CLASSES,),
        criterion=Classification(),
        train=TrainSplit(*train),
        validation=Split(*validation),
        _test=Split(*test),
        usage=Usage(
            {
                "image": Port("Brightness.", ("channel", "height", "width")),
                "tokens": Port("Words.", ("token",)),
            },
            Port("A logit per class.", ("class",)),
        ),
    )


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    for kind in ("space", "task"):
        monkeypatch.setitem(parts._registered, kind, {})
    register("task", "captioned")(captioned)
    register("space", "captioned")(lambda inputs, output: both())
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def test_a_task_with_two_inputs_runs_to_its_file_and_its_report(recipe, tmp_path):
    only = settings(*OVERRIDES, 'targets=[{name="edge-npu"}]')
    succeeded(nas("run", recipe, "--out", tmp_path / "run", *only))
    assert len(evaluations(tmp_path / "run")) == 8
    (target,) = load(tmp_path / "run" / "results.json").targets
    file = tmp_path / "run" / target.chosen.file.path
    declared = {one.name for one in onnx.load(file).graph.input}
    assert declared == {"image", "tokens"}
    session = onnxruntime.InferenceSession(file)
    ((inputs, classes),) = captioned().test_batches(32)
    (out,) = session.run(None, {name: x.numpy() for name, x in inputs.items()})
    wrong = 100 * (torch.from_numpy(out).argmax(1) != classes).float().mean()
    assert target.chosen.file.test_error == pytest.approx(float(wrong))
    assert (
        "captioned: 96 train, 32 validation, 32 test samples"
        in (tmp_path / "run" / "report.html").read_text()
    )
