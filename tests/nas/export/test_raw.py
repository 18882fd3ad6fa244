"""Files that read raw data answer as networks of scaled data do, in every form and precision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.export import FORMS, Exporter, ExportError, verify
from nas.export.raw import raw_of, reading_raw, require_scaling, scaled_answers
from nas.export.stand_in import stand_in
from nas.facts.usage import Port, Scaling, Usage
from nas.tasks.criteria import Regression
from nas.testing.deployment import installed
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Activation, Add, Conv2d, Embedding, Flatten, Input, Linear
from search_spaces.quant import PerChannel, Quant
from supernets.deployed import Deployed

PIXELS = np.random.default_rng(0).integers(0, 256, (200, 3, 6, 6)).astype(np.float32)
LOOK = Scaling((100.0, 20.5, 131.7), (51.3, 4.25, 77.7))
HEIGHTS = Scaling((3.0, 400.0), (2.0, 17.0))
USAGE = Usage(
    {"image": Port("Pixels.", ("channel", "height", "width"), LOOK)},
    Port("Heights.", ("value",), HEIGHTS),
)
PRECISE = {
    "floats": {},
    "codes": {"weight": Quant(Int(8), PerChannel()), "activation": Quant(Int(8, symmetric=False))},
    "few bits": {"weight": Quant(Int(4), PerChannel()), "activation": Quant(Int(4))},
}


def network(precision: str) -> Deployed:
    """Two readers of the image, padded with zeros, which are not raw zeros."""
    held = PRECISE[precision]
    graph = Graph(Input("image", (3, 6, 6)))
    graph.add("first", Conv2d(4, 3, bias=True, **held))
    graph.add("first.relu", Activation("relu"))
    graph.add("second", Conv2d(4, 1, bias=True, **held), "input")
    graph.add("sum", Add(*filter(None, [held.get("activation")])), "first.relu", "second")
    graph.add("flat", Flatten())
    graph.add("head", Linear(2, **held))
    return stand_in(graph)


def scaled(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(LOOK.done(pixels).astype(np.float32))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # ExecuTorch's
@pytest.mark.parametrize("form", [*installed()], ids=lambda form: form.name)
@pytest.mark.parametrize("precision", PRECISE)
def test_raw_pixels_give_the_answers_of_the_plain_file_in_raw_units(
    form: Exporter, precision: str, tmp_path: Path
) -> None:
    plain, files = network(precision), [tmp_path / f"{name}{form.suffix}" for name in ("a", "b")]
    raw = reading_raw(plain, USAGE)
    form.write(plain, files[0])
    form.write(raw, files[1])
    answers = form.open(files[0], plain.graph).run({"image": scaled(PIXELS)})
    found = form.open(files[1], raw.graph).run({"image": torch.from_numpy(PIXELS)})
    apart = np.abs(found - HEIGHTS.undone(answers)).max(axis=1) / HEIGHTS.undone(answers).std()
    # A number of a tie between two codes may round to either side.
    assert np.mean(apart < 1e-4) > 0.95
    assert apart.max() < 0.1
    inputs, targets = {"image": scaled(PIXELS)}, torch.from_numpy(answers)
    checked = verify(files[1], plain, inputs, targets, criterion=Regression(), raw=USAGE)
    assert checked.file_error < 0.01 * answers.std()


def test_the_check_of_a_file_feeds_it_raw_data(tmp_path: Path) -> None:
    plain, path = network("codes"), tmp_path / "net.onnx"
    inputs, targets = {"image": scaled(PIXELS)}, torch.zeros(len(PIXELS), 2)
    FORMS["onnx"].write(reading_raw(plain, USAGE), path)
    found = verify(path, plain, inputs, targets, criterion=Regression(), raw=USAGE)
    assert found.file_error == pytest.approx(found.network_error, rel=1e-3)
    with pytest.raises(ExportError, match="its policy says full precision"):
        verify(path, network("floats"), inputs, targets, criterion=Regression(), raw=USAGE)
    again = raw_of(inputs, USAGE)["image"].numpy()
    np.testing.assert_allclose(again, PIXELS, atol=1e-3)
    answers = torch.from_numpy(HEIGHTS.undone(targets.numpy()).astype(np.float32))
    assert torch.equal(scaled_answers(answers, USAGE), targets)
    assert scaled_answers(answers, None) is answers
    assert raw_of(inputs, None) is inputs
    assert reading_raw(plain, None) is plain


def test_inputs_that_are_not_scaled_and_those_that_nobody_reads_stay_as_they_are() -> None:
    graph = Graph(Input("t1", (4,), "int64"), Input("spare", (2,)), Input("x", (3,)))
    graph.add("words", Embedding(6, 2), "t1")
    graph.add("words.flat", Flatten())
    graph.add("x.standardize", Linear(8), "x")  # an address that is taken
    graph.add("sum", Add(), "words.flat", "x.standardize")
    spread = Port("Numbers.", ("feature",), Scaling((5.0,), (2.0,)))
    text = Port("Tokens.", ("token",))
    usage = Usage({"t1": text, "spare": spread, "x": spread}, Port("Logits.", ("class",)))
    plain = stand_in(graph)
    raw = reading_raw(plain, usage)
    assert {*raw.graph.nodes} - {*graph.nodes} == {"x.standardize_"}
    assert raw.graph.output == "sum"
    given = {"t1": torch.tensor([[1, 2, 3, 0]]), "spare": torch.ones(1, 2), "x": torch.ones(1, 3)}
    fed = {**given, "x": torch.full((1, 3), 7.0)}
    with torch.no_grad():
        assert torch.equal(raw.module()(**fed), plain.module()(**given))


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (Usage({"tokens": Port("Text.", ("token",))}, Port("Logits.", ("class",))), "tokens"),
        (
            Usage({"x": Port("Times.", ("t",), Scaling((1.0, 1.7e9), (1.0, 5.0)))}, USAGE.output),
            r"x at place 1 are about 1.7e\+09 with a deviation of 5",
        ),
    ],
)
def test_what_cannot_move_into_a_file_is_refused(usage: Usage, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        require_scaling(usage)
