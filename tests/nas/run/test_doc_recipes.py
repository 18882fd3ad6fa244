"""The recipes and programs of docs/tasks.md run as they are written there, with fewer epochs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
from scipy.io import wavfile

from nas.recipe.recipe import load_recipe
from nas.report.data import Results
from nas.run.pipeline import run
from tests.shared_data import shared_data

DOCUMENT = Path(__file__).parents[3] / "docs" / "tasks.md"
SMALL = ("search.budget=4", "search.batch=4", "search.proxies=0", "compute.threads=1")


def blocks(heading: str) -> tuple[str, str]:
    """The program and the recipe below a heading."""
    section = DOCUMENT.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    found = dict(re.findall(r"^```(\w+)\n(.*?)^```$", section, re.M | re.S))
    return found["python"], found["toml"]


def followed(heading: str, folder: Path, *overrides: str) -> Results:
    """The results of the recipe below a heading, after its program has written the data."""
    program, recipe = blocks(heading)
    exec(compile(program, str(DOCUMENT), "exec"), {})
    (folder / "doc.toml").write_text(recipe)
    return run(load_recipe(folder / "doc.toml", [*SMALL, *overrides]), folder=folder / "out")


def error_of(results: Results) -> float:
    """The error of the exported file on the test split, in percent."""
    chosen = results.targets[0].chosen
    assert chosen is not None
    assert chosen.file is not None
    assert chosen.file.test_error is not None
    return chosen.file.test_error


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_table_of_measured_values_becomes_a_file_that_names_its_features(inside):
    results = followed("A table of measured values", inside, "training.quantized_epochs=5")
    assert error_of(results) < 20
    (file,) = (inside / "out").rglob("*.onnx")
    told = {each.key: each.value for each in onnx.load(file).metadata_props}
    assert '"alcohol", "malic_acid", "ash"' in told["elastic_nas.inputs"]


def test_sounds_become_images_that_are_told_apart(inside):
    held = np.load(shared_data("fsdd/fsdd.npz"))
    for clip in np.flatnonzero((held["digit"] < 3) & (held["take"] < 10)):
        start, length = held["offset"][clip], held["length"][clip]
        folder = inside / "sounds" / f"digit{held['digit'][clip]}"
        folder.mkdir(parents=True, exist_ok=True)
        wavfile.write(folder / f"{clip}.wav", 8000, held["audio"][start : start + length])
    narrow = ("space.widths=[[4], [4, 8], [8]]", "space.depths=[[1], [1]]")
    short = ("training.float_epochs=5", "training.quantized_epochs=1")
    results = followed("Sounds", inside, *narrow, *short)
    data = results.data
    assert data.splits["train"].inputs["image"].shape == (1, 32, 32)
    assert [*data.splits["train"].classes] == ["digit0", "digit1", "digit2"]
    assert error_of(results) < 60  # a guess errs on 67 of 100
