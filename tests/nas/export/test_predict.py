"""The script beside exported files: raw arrays and texts in, answers out, faults in sentences."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nas.export import export_onnx
from nas.export import predict as script
from nas.export.predict import predict
from nas.export.stand_in import stand_in
from nas.facts.usage import Port, Scaling, Usage
from nas.tasks.tokens import ByteSection, WordSection
from search_spaces.graph import Graph
from search_spaces.ops import Add, Conv2d, Embedding, Flatten, Input, Linear, Outputs
from supernets.deployed import Deployed

IMAGE, TOKENS = Input("image", (2, 4, 4)), Input("tokens", (3,), "int64")
LOOK = Port(
    "Pixels.",
    ("channel", "height", "width"),
    Scaling((100.0, 20.0), (50.0, 4.0)),
    low=(0.0, 10.0),
    high=(255.0, 30.0),
)
CLASSES = Port("A logit per class.", ("class",), names=("cat", "dog", "owl"))
RAW = np.random.default_rng(0).integers(0, 256, (40, 2, 4, 4)).astype(np.float64)


@pytest.fixture(scope="module")
def network() -> Deployed:
    """A network of an image and a text."""
    graph = Graph(IMAGE, TOKENS)
    graph.add("look", Conv2d(4, 3, bias=True), "image")
    graph.add("look.flat", Flatten())
    graph.add("look.head", Linear(3))
    graph.add("words", Embedding(300, 2), "tokens")
    graph.add("words.flat", Flatten())
    graph.add("words.head", Linear(3))
    graph.add("sum", Add(), "look.head", "words.head")
    return stand_in(graph)


def written(network: Deployed, path: Path, text: Port, output: Port = CLASSES) -> Path:
    told = Usage({"image": LOOK, "tokens": text}, output).stated((IMAGE, TOKENS), (3,))
    metadata = {key: json.dumps(value) for key, value in told.items()}
    export_onnx(replace(network, metadata=metadata), path)
    return path


def answered(network: Deployed, raw: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The output of the network itself for raw pixels."""
    scaled = (raw - [[[100]], [[20]]]) / [[[50]], [[4]]]
    given = {"image": torch.tensor(scaled).float(), "tokens": torch.tensor(codes)}
    with torch.no_grad():
        return network.module()(**given).numpy()


def test_texts_become_bytes_and_the_answers_are_names(network: Deployed, tmp_path: Path) -> None:
    text = Port("A text.", ("token",), tokenizer=ByteSection().learned(()).stated())
    path = written(network, tmp_path / "net.onnx", text)
    codes = np.array([[99, 97, 116], [111, 119, 0]] * 20)
    found = predict(path, RAW, ["cats", "ow"] * 20)
    assert [*found] == [CLASSES.names[place] for place in answered(network, RAW, codes).argmax(1)]
    assert len({*found}) > 1
    assert [*predict(path, RAW, codes)] == [*found]  # tokens are as good as their text


def test_texts_become_words_and_values_have_their_unit(network: Deployed, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    tokenizer = WordSection(vocabulary=9).learned(["a dog barks", "an owl", "a dog"])
    text = Port("A text.", ("token",), tokenizer=tokenizer.stated())
    values = Port("Heights.", ("value",), Scaling((3.0, 4.0, 5.0), (2.0, 1.0, 0.5)))
    path = written(network, tmp_path / "net.onnx", text, values)
    (codes,) = tokenizer.encode(["A dog barks!"])
    found = predict(path, RAW[:1], ["A dog barks!"])
    expected = answered(network, RAW[:1], codes[None, :3]) * [2.0, 1.0, 0.5] + [3.0, 4.0, 5.0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_what_does_not_fit_is_told(
    network: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(network, tmp_path / "net.onnx", Port("Whatever.", ("token",)))
    codes = np.zeros((40, 3), np.int64)
    with pytest.raises(SystemExit, match=r"image is \(samples, channel, height, width\), \[2, 4"):
        predict(path, RAW.transpose(0, 2, 3, 1), codes)
    with pytest.raises(SystemExit, match="does not say how it reads a text"):
        predict(path, RAW, ["text"] * 40)
    with pytest.raises(ValueError, match=r"argument 2 is shorter"):
        predict(path, RAW)
    predict(path, RAW, codes)
    assert capsys.readouterr().err == ""
    for wrong in (RAW / 255, RAW * 257, RAW - 1000):
        predict(path, wrong, codes)
        assert "image was 0 to 255 in training, given" in capsys.readouterr().err


@pytest.mark.slow
def test_numpy_and_onnxruntime_in_an_environment_of_their_own_are_enough(
    network: Deployed, tmp_path: Path
) -> None:
    text = Port("A text.", ("token",), tokenizer=ByteSection().learned(()).stated())
    path = written(network, tmp_path / "net.onnx", text)
    (tmp_path / "predict.py").write_bytes(Path(script.__file__).read_bytes())
    np.save(tmp_path / "image.npy", RAW[:1])
    venv.create(tmp_path / "bare", with_pip=True)
    python = tmp_path / "bare" / "bin" / "python"
    alone: Mapping[str, str] = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    install = [python, "-m", "pip", "install", "-q", "numpy", "onnxruntime"]
    subprocess.run(install, check=True, env=alone)
    ask = ["predict.py", "net.onnx", "image.npy", "cats"]
    here = subprocess.run([sys.executable, *ask], cwd=tmp_path, capture_output=True, check=True)
    bare = subprocess.run([python, *ask], cwd=tmp_path, capture_output=True, check=True, env=alone)
    assert bare.stdout == here.stdout == f"{predict(path, RAW[:1], ['cats'])}\n".encode()


def test_several_outputs_come_by_name_without_facts_of_a_task(tmp_path: Path) -> None:
    graph = Graph(IMAGE)
    graph.add("flat", Flatten())
    graph.add("head", Linear(3))
    graph.add("outputs", Outputs(names=("scores", "pixels")), "head", "flat")
    export_onnx(stand_in(graph), tmp_path / "net.onnx")
    found = predict(tmp_path / "net.onnx", RAW)
    assert {name: held.shape for name, held in found.items()} == {
        "scores": (40, 3),
        "pixels": (40, 32),
    }
    assert np.array_equal(found["pixels"], RAW.reshape(40, 32).astype(np.float32))
    with pytest.raises(SystemExit, match=r"image is \(samples, \.\.\.\), \[2, 4, 4\] each"):
        predict(tmp_path / "net.onnx", RAW[:, :1])
