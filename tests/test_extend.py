"""The code of docs/extend.md: every block runs as it stands there and keeps its contract."""

from __future__ import annotations

import contextlib
import re
import tempfile
import tomllib
from pathlib import Path

import torch

from nas import parts
from nas.export import export_onnx, verify
from nas.recipe.recipe import validate_recipe
from nas.targets import load_target
from nas.tasks.criteria import Classification
from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.ops import Activation, BatchNorm2d, Conv2d, Flatten, GlobalPool, Input, Linear
from search_spaces.policy import Policy
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.extract import extract
from supernets.supernet import Supernet

DOC = Path(__file__).parent.parent / "docs" / "extend.md"
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks() -> dict[str, object]:
    """What the Python blocks define; a TOML block goes to the file that its first line names."""
    defined: dict[str, object] = {}
    text, before = DOC.read_text(), {kind: {**held} for kind, held in parts._registered.items()}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for block in FENCED.finditer(text):
            language, code = block.groups()
            if language == "text":
                continue
            if language == "toml":
                path = Path(code.splitlines()[0].removeprefix("# "))
                path.parent.mkdir(exist_ok=True)
                path.write_text(code)
            else:
                lines_before = text.count("\n", 0, block.start(2))
                names: dict[str, object] = {"__name__": __name__}
                exec(compile("\n" * lines_before + code, DOC, "exec"), names)
                defined |= {name: made for name, made in names.items() if name[0] != "_"}
        defined["registered"] = {kind: {**held} for kind, held in parts._registered.items()}
        parts._registered.update(before)  # other tests know the shipped parts only
        defined["plain_json"] = Path("plain.json").read_text()
        defined["board"] = Path("devices/my-board.toml").read_text()
    return defined


DEFINED = blocks()
globals().update(  # where pytest and pickle look for them
    {name: made for name, made in DEFINED.items() if getattr(made, "__module__", "") == __name__}
)


def test_every_kind_has_a_block_with_a_contract() -> None:
    inheriting = [name for name in DEFINED if name.startswith("Test")]
    assert inheriting == [
        "TestL2Pool2d",
        "TestPlain",
        "TestMyBoard",
        "TestLabNotes",
        "TestNeighbours",
        "TestBayesianLinear",
        "TestLayerSpread",
        "TestQuantile",
    ]


def test_the_added_operator_is_searched_priced_and_exported(tmp_path: Path) -> None:
    space = _space_with_the_pool()
    board = str(DEFINED["board"]).replace('"GlobalPool"', '"GlobalPool", "L2Pool2d"')
    (tmp_path / "board.toml").write_text(board)
    latency = load_target(tmp_path / "board.toml").compile(space)["latency_ms"]
    supernet, images = Supernet(space, seed=0), torch.randn(64, 1, 8, 8)
    initialise_steps(supernet, [images])
    for genotype in (space.largest, space.smallest):
        extracted = extract(supernet, genotype, [images])
        deployed = deploy(extracted)
        export_onnx(deployed, tmp_path / "net.onnx")
        labels = extracted.module(images).argmax(1)
        checked = verify(
            tmp_path / "net.onnx", deployed, images, labels, criterion=Classification()
        )
        assert checked.agreement > 98
        assert checked.network_error < 2
    cheap, dear = latency(torch.tensor([space.smallest, space.largest]).numpy())
    assert 0 < cheap < dear < float("inf")


def _space_with_the_pool() -> SearchSpace:
    graph, policy = (
        Graph(Input("image", (1, 8, 8))),
        Policy(weight_bits=(4, 8), activation_bits=(8,)),
    )
    pool = DEFINED["L2Pool2d"]
    assert callable(pool)
    for i in range(2):
        bits = policy.layer("all", f"layer{i}", "conv")
        graph.add(f"layer{i}", Conv2d(choice(f"width{i}", (8, 16)), 3, **bits))
        graph.add(f"layer{i}.norm", BatchNorm2d())
        graph.add(f"layer{i}.relu", Activation("relu"))
        window = choice(f"window{i}", (1, 2, 3))
        graph.add(f"layer{i}.pool", pool(window, 1, policy.tensor()))
    graph.add("pool", GlobalPool(policy.tensor()))
    graph.add("head.flatten", Flatten())
    graph.add("head", Linear(10, **policy.edge()))
    return SearchSpace(graph, name="pooled")


def test_every_block_gives_its_part_a_name() -> None:
    registered = DEFINED["registered"]
    assert isinstance(registered, dict)
    assert {kind: [*held] for kind, held in registered.items() if held} == {
        "space": ["plain"],
        "criterion": ["quantile"],
        "searcher": ["neighbours"],
        "predictor": ["bayesian-linear"],
        "proxy": ["layer-spread"],
        "table-format": ["lab-notes"],
    }


def test_the_added_space_is_read_by_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "plain.json").write_text(str(DEFINED["plain_json"]))
    content = tomllib.loads(
        f"""
        name = "mine"
        task = {{kind = "digits"}}
        space = {{family = "file", path = "{tmp_path / "plain.json"}"}}
        targets = [{{name = "edge-npu"}}]
        """
    )
    recipe = validate_recipe(content)
    assert recipe.space.build(recipe.task.load()).name == "plain"
