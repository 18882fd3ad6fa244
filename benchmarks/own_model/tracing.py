"""Which networks of torchvision and timm are traced, quantized, exported and run.

    python -m benchmarks.own_model.tracing [NAME ...] [--results FOLDER] [--again WORD]

All classification models of torchvision, and a small member of each of 60 families of timm, with
random numbers in all parameters (`benchmarks.own_model.families`) and images of the least side that
a network reads. A network of more than 45 million parameters is passed over: the smaller members of
its family, which have the same calls, stand for it.

A network is traced, and the traced one is compared with the network on images that the tracer did
not see. Then weights and inputs of all layers get 8 bits (`ranges`, `nearest`), the deployed
network is exported to ONNX, and the file is checked and run in onnxruntime. Differences are shares
of the largest number of the output, or of one.

Each network has a process with a limit of CPU time and memory, and a file in the folder with its
result; a network that has one is not read again, unless its result has WORD in its error. The
table has all results that are there. Needs torchvision and timm.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.own_model.families import LARGEST, built, names, parameters, prepare_torchvision
from benchmarks.search_tabular import show
from nas.export import FORMS, verify
from nas.files.durable import write_atomic
from nas.parts import Parts
from nas.tasks.criteria import Classification
from search_spaces.opening import Opening, opened
from search_spaces.ops import Opaque
from search_spaces.space import SearchSpace
from supernets.inputs import inputs_of
from supernets.post_training import PostTraining
from supernets.tracing import trace

FOLDER = Path("/work/wt/results15/tracing")
SECONDS, BYTES = 240, 4 << 30  # of CPU time, of memory
REWRITES = ("ranges", "nearest", "round-biases")
STAGES = ("read", "traced", "equal", "quantized", "exported", "run")
EQUAL = 1e-5


@dataclass
class Result:
    """What became of a network: the last stage that it reached, figures, and the error after it."""

    name: str
    stage: str = ""
    side: int = 0
    parameters: int = 0
    difference: float | None = None
    opaque: dict[str, int] = field(default_factory=dict)
    operators: int = 0
    file_difference: float | None = None
    agreement: float | None = None
    error: str = ""
    seconds: float = 0.0


def attempt(result: Result, path: Path) -> None:
    """Take a network as far as it goes; `path` gets the result after every stage."""
    started = time.process_time()
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (int(started) + SECONDS,) * 2)

    def reached(stage: str) -> None:
        result.stage, result.seconds = stage, round(time.process_time() - started, 1)
        write_atomic(path, json.dumps(asdict(result), indent=1).encode())

    try:
        _stages(result, reached)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is a result
        result.error = f"{type(error).__name__}: {error}"
        reached(result.stage)


def _stages(result: Result, reached: Any) -> None:
    model, images = built(result.name)
    result.side = images.shape[-1]
    reached("read")
    traced = trace(model, images[:2])
    result.opaque = _opaque(traced.graph)
    result.operators = len(traced.graph.nodes)
    reached("traced")
    with torch.no_grad():
        theirs, ours = model(images), traced.module()(images)
    result.difference = float((ours - theirs).abs().max() / max(1.0, float(theirs.abs().max())))
    if not result.difference <= EQUAL:
        raise ValueError(f"differs by {result.difference:.2g}")
    reached("equal")
    del model
    space = SearchSpace(opened(traced.graph, Opening(weights=(8,), activations=(8,))), name="own")
    makers = [Parts("rewrite")[name] for name in REWRITES]
    training = PostTraining(space, traced.tensors, [images], rewrites=makers)
    deployed = training(space.largest)
    reached("quantized")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.onnx"
        FORMS["onnx"].write(deployed, file)
        reached("exported")
        with torch.no_grad():
            answers = deployed.module()(**inputs_of(deployed.graph, images))
        found = verify(file, deployed, images, answers.argmax(1), criterion=Classification())
        result.file_difference = found.largest_difference / max(1.0, float(answers.abs().max()))
        result.agreement = found.agreement
    reached("run")


def _opaque(graph: Any) -> dict[str, int]:
    calls = (node.op.target for node in graph.nodes.values() if isinstance(node.op, Opaque))
    return dict(Counter(calls))


def run(wanted: list[str], folder: Path) -> None:
    """Give each network a process, forked after everything is loaded."""
    context = multiprocessing.get_context("fork")
    folder.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        path = folder / f"{name.replace(':', '.')}.json"
        result = Result(name, parameters=parameters(name))
        if result.parameters > LARGEST:
            result.error = "passed over: smaller members of its family stand for it"
            write_atomic(path, json.dumps(asdict(result), indent=1).encode())
            continue
        process = context.Process(target=attempt, args=(result, path))
        process.start()
        process.join()
        held = read(path) or result
        if process.exitcode and not held.error:
            held.error = "killed: out of time or memory"
            write_atomic(path, json.dumps(asdict(held), indent=1).encode())
        print(held.name, held.stage, held.error[:200], f"{held.seconds:.0f} s", flush=True)


def read(path: Path) -> Result | None:
    """The result in a file, or None where there is no such file."""
    return Result(**json.loads(path.read_text())) if path.exists() else None


def tell(results: list[Result]) -> None:
    """The tables of all results; one without an error that did not run is still under way."""
    results = [r for r in results if r.error or r.stage == STAGES[-1]]
    tried = [r for r in results if not r.error.startswith("passed over")]
    rows = []
    for package in ("torchvision", "timm"):
        own = [r for r in tried if r.name.startswith(package)]
        reached = [STAGES.index(r.stage) if r.stage in STAGES else -1 for r in own]
        shares = [f"{np.mean([n >= i for n in reached]):.0%}" for i in (1, 2, 3, 4, 5)]
        passed = sum(r.name.startswith(package) for r in results) - len(own)
        rows.append([package, str(len(own)), str(passed), *shares])
    header = ["package", "networks", "passed over", "traced", "equal", "8 bits", "exported", "run"]
    show(header, rows)
    opaque = Counter[str]()
    networks = Counter[str]()
    for result in tried:
        opaque.update(result.opaque)
        networks.update(result.opaque.keys())
    calls = [[target, str(networks[target]), str(n)] for target, n in opaque.most_common()]
    show(["opaque call", "networks", "calls"], calls)
    short = [[r.name, r.stage, r.error.partition("\n")[0][:160]] for r in tried if r.stage != "run"]
    show(["network", "reached", "then"], short)


def main() -> None:
    """Run what is missing, and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--results", type=Path, default=FOLDER)
    parser.add_argument("--again", default="")
    parser.add_argument("--only-tables", action="store_true")
    given = parser.parse_args()
    prepare_torchvision()
    every = names()
    paths = {name: given.results / f"{name.replace(':', '.')}.json" for name in every}
    wanted = given.names or [
        name
        for name in every
        if (held := read(paths[name])) is None or (given.again and given.again in held.error)
    ]
    if not given.only_tables:
        run(wanted, given.results)
    if not given.names:
        tell([held for name in every if (held := read(paths[name])) is not None])


if __name__ == "__main__":
    main()
