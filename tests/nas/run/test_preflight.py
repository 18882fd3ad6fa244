"""What can only fail after a training is tried before it."""

from __future__ import annotations

import importlib.util
import os
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nas.export import FORMS, ExportError, rehearse
from nas.export.stand_in import stand_in
from nas.run.steps import training
from nas.run.steps.preflight import telling_networks
from search_spaces.graph import Graph
from search_spaces.quant import Quant
from search_spaces.space import as_genotypes
from tests.nas.runs import TINY, Outcome, nas
from tests.nas.spaces import small_space


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny run in which training would be noticed."""

    def trains(*_arguments: Any, **_settings: Any) -> None:
        raise AssertionError("nothing may be trained")

    monkeypatch.setattr(training, "train", trains)
    path = tmp_path / "tiny.toml"
    path.write_text(f'name = "tiny"\n{TINY}')
    return path


def refused(recipe: Path, *settings: str) -> str:
    ended: Outcome = nas("run", recipe, *(word for one in settings for word in ("--set", one)))
    assert ended.code == 1
    assert ended.err.startswith("error: ")
    assert not (recipe.parent / "tiny" / "archive.journal").exists()
    return " ".join(ended.err.split())


def test_a_cluster_that_cannot_be_reached(recipe: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        told = refused(recipe, "compute.workers=1", f"compute.ray_address={address}")
    assert f"no Ray cluster can be reached at '{address}'" in told


def test_a_place_where_ray_cannot_write(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_TMPDIR", "/proc/nowhere")
    told = refused(recipe, "compute.workers=1")
    assert "no Ray cluster can be started on this machine" in told
    assert "RAY_TMPDIR" in told
    assert "compute.workers = 0" in told


@pytest.mark.ray
def test_a_cluster_that_is_too_small(recipe: Path) -> None:
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        told = refused(recipe, "compute.workers=1000")
        assert "room for 1 of the 1000 workers" in told
        told = refused(recipe, "compute.workers=1", "compute.gpus_per_worker=9")
        assert "room for 0 of the 1 workers" in told
    finally:
        ray.shutdown()


def test_a_database_that_is_away(recipe: Path, tmp_path: Path) -> None:
    told = refused(recipe, f"search.archive=sqlite:///{tmp_path}/nowhere/archive.db")
    assert "nowhere/archive.db" in told


def test_no_place_for_temporary_files(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    told = refused(recipe)
    assert "no temporary file can be written" in told
    assert "TMPDIR" in told


@pytest.mark.parametrize("name", ["results.json", "report.html", "front-edge-npu.csv"])
def test_a_folder_where_a_file_will_be_written(recipe: Path, name: str) -> None:
    (recipe.parent / "tiny" / name).mkdir(parents=True)
    told = refused(recipe, "search.seed=1")
    assert f"{name} is a folder" in told or "already holds a run" in told


def test_a_runtime_that_is_too_old(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.export import runtime

    def old(*_arguments: object) -> None:
        raise RuntimeError("Opset 25 is under development")

    monkeypatch.setattr(runtime, "_session", old)
    told = refused(recipe)
    assert "cannot write and run networks of this space as 'onnx'" in told
    assert "onnxruntime " in told
    assert "Opset 25" in told


@pytest.mark.parametrize("missing", ["openvino", "executorch"])
def test_a_form_whose_package_is_missing(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    without(monkeypatch, missing)
    told = refused(recipe, f'export.formats=["{missing}"]')
    assert f"pip install 'elastic-nas[{missing}]'" in told


def test_a_searcher_whose_package_is_missing(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "numba")
    told = refused(recipe, "search.searcher=age-moea")
    assert "pip install 'elastic-nas[peers]'" in told


def without(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    real = importlib.util.find_spec

    def found(name: str, *arguments: Any) -> Any:
        return None if name == missing else real(name, *arguments)

    monkeypatch.setattr(importlib.util, "find_spec", found)


def test_the_networks_tried_hold_every_precision_of_the_space() -> None:
    space = small_space()
    sampled = as_genotypes(space.sample_array(np.random.default_rng(1), 50))
    networks = telling_networks(space)
    assert precisions([space.decode(genotype) for genotype in sampled]) <= precisions(networks)
    assert len(networks) < 10


def precisions(networks: list[Graph]) -> set[Quant | None]:
    return {node.op.weight for graph in networks for node in graph.nodes.values()}


@pytest.mark.parametrize("name", ["onnx", "torch"])
def test_a_rehearsal_runs_what_it_wrote(name: str) -> None:
    networks = [stand_in(graph) for graph in telling_networks(small_space())]
    rehearse(FORMS[name], networks)
    hollow = [replace(network, parameters={}) for network in networks]
    with pytest.raises(ExportError, match=f"as '{name}'.*torch"):
        rehearse(FORMS[name], hollow)
