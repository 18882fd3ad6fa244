"""Devices that run fewer formats than first and last layers used to insist on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nas import targets
from nas.export import read_policy
from nas.targets import legal, load_target
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.residual import residual
from search_spaces.space import SearchSpace
from tests.nas.runs import assert_refused, nas, settings, succeeded

EDGE_NPU = (Path(targets.__file__).parent / "devices" / "edge-npu.toml").read_text()
WEIGHTS = 'weight_symmetry = ["symmetric"]'
GRANULARITY = "activation_granularity"
PER_TENSOR = ("space.policy.weight_granularities=['per-tensor']",)


def device(folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """A target file like the shipped edge-npu, with some texts replaced."""
    text = EDGE_NPU.replace('name = "edge-npu"', f'name = "{name}"')
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (path := folder / f"{name}.toml").write_text(text)
    return path


def of_weights(folder: Path, granularity: str) -> Path:
    more = f'{WEIGHTS}\nweight_granularity = ["{granularity}"]'
    return device(folder, f"{granularity}-npu", (WEIGHTS, more))


def space(**policy) -> SearchSpace:
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(10,),
        widths=((4, 6), (6, 8)),
        depths=((1, 2),),
        policy=Policy(fineness="network", **policy),
    )


def finite(made: SearchSpace, path: Path) -> np.ndarray:
    rows = made.sample_array(np.random.default_rng(0), 200)
    return np.isfinite(load_target(path).compile(made)["latency_ms"](rows))


def test_a_per_tensor_device_is_searched_and_its_file_is_per_tensor(
    recipe: Path, tmp_path: Path
) -> None:
    path = of_weights(tmp_path, "per-tensor")
    alone = settings(f"targets=[{{name='{path}'}}]", "search.budget=4", *PER_TENSOR)
    succeeded(nas("run", recipe, *alone, "--out", tmp_path / "run"))
    [file] = (tmp_path / "run").rglob("*.onnx")
    held = [one.weight for one in read_policy(file).values() if one.weight is not None]
    assert len(held) >= 4
    assert {weight.scales for weight in held} == {1}


def test_a_policy_that_has_no_option_for_a_device_is_told_what_to_open(
    recipe: Path, tmp_path: Path
) -> None:
    path = of_weights(tmp_path, "per-tensor")
    given = nas("spaces", recipe, *settings(f"targets=[{{name='{path}'}}]"))
    assert_refused(given, "refuses node 'stem'", "granularities", "edge_bits")


@pytest.mark.parametrize(
    ("changes", "policy"),
    [
        (
            ((WEIGHTS, 'weight_symmetry = ["asymmetric"]'),),
            {"weight_symmetries": (True, False)},
        ),
        (
            (
                (
                    "activation_granularity",
                    'activation_symmetry = ["symmetric"]\nactivation_granularity',
                ),
            ),
            {"activation_symmetries": (False, True)},
        ),
        (
            (
                ('"int4xint4", "int4xint8", "int8xint8", "floatxfloat"', '"int4xint4"'),
                ('"container"', '"refuse"'),
            ),
            {"edge_bits": (4, 8), "activation_bits": (4, 8)},
        ),
    ],
    ids=["asymmetric weights", "symmetric activations", "4 bits alone"],
)
def test_edges_keep_only_what_the_device_runs(
    changes: tuple[tuple[str, str], ...], policy: dict, tmp_path: Path
) -> None:
    if len(changes) == 2:  # of the roofline too, which keeps the rates of products of activations
        rates = (('"int4xint8" = 6.4, ', ""), ('"int4xint8" = 0.45, ', ""))
        changes = (*changes, *rates)
    path = device(tmp_path, "narrow", *changes)
    narrowed = legal(space(**policy), [load_target(path)])
    assert finite(narrowed, path).all()


def test_two_devices_with_nothing_in_common_share_a_search(tmp_path: Path) -> None:
    """Edges follow a choice, and every device has its own part of the space."""
    both = [of_weights(tmp_path, name) for name in ("per-tensor", "per-channel")]
    made = space(weight_granularities=(PerTensor(), PerChannel()))
    assert legal(made, [load_target(path) for path in both]) is made
    runs = [finite(made, path) for path in both]
    assert all(0.1 < share.mean() < 0.5 for share in runs)
    assert not (runs[0] & runs[1]).any()
