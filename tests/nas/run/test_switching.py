"""A run whose subnets leave as files that switch between bit-widths."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch

from nas.export import ExportError
from nas.export import predict as script
from nas.export.predict import predict
from nas.export.runtime import file_outputs
from nas.export.switching import BITS
from nas.recipe.recipe import load_recipe
from nas.run.folder import RunFolder
from nas.run.plan import prepare
from nas.run.steps.switching import modes
from search_spaces.mlp import mlp
from search_spaces.ops import Input
from search_spaces.policy import Policy, full_precision
from tests.nas.runs import TINY, nas, settings, succeeded

DOUBLE = (*settings("training.quantizer=double-rounding", "search.budget=4"),)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("switching") / "tiny.toml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def folder(recipe: Path) -> Path:
    folder = recipe.parent / "double"
    for step in ("train", "search"):
        succeeded(nas(step, recipe, *DOUBLE, "--out", folder))
    return folder


def test_every_target_gets_a_file_with_the_bit_widths_that_all_precisions_offer(
    recipe: Path, folder: Path
) -> None:
    outcome = nas("switching", recipe, *DOUBLE, "--out", folder)
    succeeded(outcome)
    plan = prepare(load_recipe(recipe), RunFolder(folder))
    inputs, _ = plan.task.test_samples()
    for target in ("edge-npu", "bit-serial"):
        path = folder / f"{target}.switching.onnx"
        assert path.name in outcome.out
        for bits in (8, 4):
            (out,) = file_outputs(path, [{**inputs, BITS: torch.tensor(bits)}])
            assert out.shape == (len(out), 10)
            raw = plan.task.usage.inputs["image"].scaling.undone(inputs["image"].numpy())
            asked = predict(path, raw, bits=bits)
            assert (asked == out.argmax(1).astype(str)).mean() > 0.99
        assert (predict(path, raw) == predict(path, raw, bits=8)).all()
    assert (folder / "predict.py").read_bytes() == Path(script.__file__).read_bytes()
    rows = re.findall(r"^ +([84]) ", outcome.out, re.M)
    assert rows == ["8", "4", "8", "4"], outcome.out


def test_a_run_without_a_search_is_refused(recipe: Path, tmp_path: Path) -> None:
    succeeded(nas("train", recipe, *DOUBLE, "--out", tmp_path))
    outcome = nas("switching", recipe, *DOUBLE, "--out", tmp_path)
    assert outcome.code == 1
    assert "run `nas search` first" in outcome.err


def test_a_space_without_two_common_bit_widths_is_refused() -> None:
    for weights, inputs, common in (((8,), (8,), 1), ((2, 4), (6, 8), 0), ((2, 4), (4, 8), 1)):
        policy = Policy(weight_bits=weights, activation_bits=inputs)
        space = mlp((Input("x", (4,)),), (2,), widths=(4,), depths=(2,), policy=policy)
        with pytest.raises(ExportError, match=f"needs two bit-widths .* there are {common}"):
            modes(space, space.largest)


def test_modes_keep_the_architecture() -> None:
    policy = Policy(weight_bits=(2, 4, 8), activation_bits=(8,))
    space = mlp((Input("x", (4,)),), (2,), widths=(4, 8), depths=(3, 4), policy=policy)
    found = modes(space, space.smallest)
    assert list(found) == [8, 4, 2]
    graphs = [full_precision(space.decode(genotype)) for genotype in found.values()]
    assert all(graph == full_precision(space.decode(space.smallest)) for graph in graphs)


def test_a_file_that_switches_may_read_raw_data(recipe: Path, folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "raw"))
    succeeded(nas("switching", recipe, *DOUBLE, "--set", "export.raw=true", "--out", copy))
    succeeded(nas("switching", recipe, *DOUBLE, "--out", folder))
    plan = prepare(load_recipe(recipe), RunFolder(folder))
    inputs, _ = plan.task.test_samples()
    raw = plan.task.usage.inputs["image"].scaling.undone(inputs["image"].numpy())
    for bits in (8, 4):
        fed = [{"image": torch.from_numpy(raw).float(), BITS: torch.tensor(bits)}]
        (out,) = file_outputs(copy / "edge-npu.switching.onnx", fed)
        plain = [{**inputs, BITS: torch.tensor(bits)}]
        (expected,) = file_outputs(folder / "edge-npu.switching.onnx", plain)
        assert (abs(out - expected).max(axis=1) < 1e-3 * expected.std()).mean() > 0.95
