"""Other tools on the same network: ResNet-20, rounded by NNCF, torchao and this engine in one run.

    python -m benchmarks.own_model.peers [--seed 0] [--images 10000] [--run FOLDER]

Needs `pip install nncf openvino torchao` beside the engine. All tools get the same trained network,
the same 256 training images without labels for calibration, and the same 512 training images with
labels where a tool asks for accuracy. Accuracy is that on the test images. The latency of a single
image on one thread is the median of 200 runs, measured in turns, so that all files meet the same
load: in onnxruntime or OpenVINO where a tool writes a file, in torch where it gives a module.
Results are kept in FOLDER, and a run continues where it was stopped.

NNCF's accuracy-aware quantization puts operators back to floats until the accuracy lost is at most
0.5 points. Its mixed precision of weights (`compress_weights` with a ratio) gives layers 4 or 8
bits by a sensitivity; the ratio is the share of weights in 4 bits. torchao rounds the weights that
a configuration names.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.own_model.data import TEST, calibration, images, resnet
from benchmarks.search_tabular import show
from nas.evaluation.rewrites import post_training
from nas.export import form_of
from nas.files.durable import write_atomic
from search_spaces.opening import Opening, opened
from search_spaces.space import SearchSpace
from supernets.deployed import Deployed
from supernets.tracing import trace

CALIBRATION, JUDGED, RUNS, PORTION = 256, 512, 200, 50
LABELLED = ("train_20",)
Images = NDArray[np.float32]
Run = Callable[[Images], NDArray[Any]]
"""A function from images `(n, 3, 32, 32)` to logits `(n, 10)`."""


@dataclass(frozen=True, eq=False)
class Made:
    """A network that a tool has made.

    Attributes:
        run: Runs the network on any number of images.
        bits: The mean bits of a weight.
        seconds: How long the tool took.
    """

    run: Run
    bits: float
    seconds: float


def of_torch(module: nn.Module) -> Run:
    """Runs a torch module."""

    def run(shown: Images) -> NDArray[Any]:
        with torch.no_grad():
            return module(torch.from_numpy(shown)).numpy()

    return run


def of_openvino(model: Any) -> Run:
    """Runs an OpenVINO model on one thread."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return lambda shown: next(iter(compiled([shown]).values()))


def converted() -> Any:
    """The float network as an OpenVINO model."""
    import openvino

    return openvino.convert_model(
        resnet(20), example_input=torch.zeros(1, 3, 32, 32), input=[-1, 3, 32, 32]
    )


def of_file(deployed: Deployed, suffix: str) -> Run:
    """Writes a network of ours to a file of a form, and runs the file."""
    folder = Path(tempfile.mkdtemp())
    form = form_of(folder / f"network{suffix}")
    form.write(deployed, folder / f"network{suffix}")
    opened_file = form.open(folder / f"network{suffix}", deployed.graph, threads=1)
    return lambda shown: np.asarray(opened_file.run({"image": torch.from_numpy(shown)}))


def ours(opening: Opening, *rewrites: str, suffix: str) -> Callable[[int], Made]:
    """A network of ours: the only policy of an opening, with these rewrites, as a file."""

    def make(seed: int) -> Made:
        begun = time.perf_counter()
        traced = trace(resnet(20), torch.zeros(2, 3, 32, 32))
        space = SearchSpace(opened(traced.graph, opening), name="resnet20")
        drawn = calibration(seed, CALIBRATION, batch=64)
        deployed = post_training(space, traced.tensors, drawn, rewrites=rewrites)(space.smallest)
        seconds = time.perf_counter() - begun
        return Made(of_file(deployed, suffix), _bits(opening), seconds)

    return make


def _bits(opening: Opening) -> float:
    return float(opening.weights[0]) if isinstance(opening.weights[0], int) else 32.0


def floats(_: int) -> Made:
    """The float network in OpenVINO."""
    return Made(of_openvino(converted()), 32, 0.0)


def floats_in_torch(_: int) -> Made:
    """The float network in torch."""
    return Made(of_torch(resnet(20)), 32, 0.0)


def _samples(seed: int) -> list[Images]:
    return [x.numpy()[None] for b in calibration(seed, CALIBRATION) for x in b["image"]]


def nncf_quantized(seed: int) -> Made:
    """NNCF's post-training quantization to 8 bits."""
    import nncf

    begun = time.perf_counter()
    made = nncf.quantize(converted(), nncf.Dataset(_samples(seed)), subset_size=CALIBRATION)
    return Made(of_openvino(made), 8, time.perf_counter() - begun)


def nncf_within_accuracy(seed: int) -> Made:
    """NNCF's accuracy-aware quantization: at most 0.5 points lost."""
    import nncf

    shown, classes = images(LABELLED)
    judged = [*zip(shown[:JUDGED].numpy()[:, None], classes[:JUDGED].tolist(), strict=True)]

    def accuracy(model: Any, samples: Iterable[Any]) -> tuple[float, None]:
        found = [int(next(iter(model(x).values())).argmax()) == y for x, y in samples]
        return float(np.mean(found)), None

    begun = time.perf_counter()
    made = nncf.quantize_with_accuracy_control(
        converted(),
        calibration_dataset=nncf.Dataset(_samples(seed)),
        validation_dataset=nncf.Dataset(judged),
        validation_fn=accuracy,
        max_drop=0.005,
        subset_size=CALIBRATION,
    )
    return Made(of_openvino(made), 8, time.perf_counter() - begun)


def nncf_compressed(seed: int, ratio: float | None) -> Made:
    """NNCF's compression of weights: a share of the weights in 4 bits, the others in 8."""
    import nncf

    begun = time.perf_counter()
    settings: dict[str, Any] = {}
    if ratio is not None:
        settings = {
            "mode": nncf.CompressWeightsMode.INT4_SYM,
            "ratio": ratio,
            "group_size": -1,
            "all_layers": True,
            "dataset": nncf.Dataset(_samples(seed)),
        }
    made = nncf.compress_weights(converted(), **settings)
    seconds = time.perf_counter() - begun
    return Made(of_openvino(made), _stored_bits(made), seconds)


def _stored_bits(model: Any) -> float:
    """The mean bits of the constants of at least 100 numbers in an OpenVINO model."""
    held = [
        op.get_output_element_type(0).bitwidth * np.prod(list(op.get_output_shape(0)))
        for op in _constants(model)
    ]
    return float(sum(held) / sum(np.prod(list(op.get_output_shape(0))) for op in _constants(model)))


def _constants(model: Any) -> list[Any]:
    return [
        op
        for op in model.get_ops()
        if op.get_type_name() == "Constant" and np.prod(list(op.get_output_shape(0))) >= 100
    ]


def torchao_weights(_: int, bits: Mapping[str, int]) -> Made:
    """Torchao's rounding of the weights that begin with certain names, per output channel."""
    from torchao.quantization import FqnToConfig, IntxWeightOnlyConfig, quantize_

    begun = time.perf_counter()
    module = resnet(20)
    layers = {n: m for n, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    chosen = {
        name: next(count for start, count in bits.items() if name.startswith(start))
        for name in layers
    }
    configs = OrderedDict(
        (name, IntxWeightOnlyConfig(weight_dtype=getattr(torch, f"int{count}")))
        for name, count in chosen.items()
    )
    quantize_(module, FqnToConfig(configs), filter_fn=None)
    sizes = {name: layer.weight.numel() for name, layer in layers.items()}
    mean = sum(sizes[name] * count for name, count in chosen.items()) / sum(sizes.values())
    return Made(of_torch(module), mean, time.perf_counter() - begun)


W8A8 = Opening(weights=(8,), activations=(8,))
ROWS: Mapping[str, Callable[[int], Made]] = {
    "float32, torch": floats_in_torch,
    "float32, OpenVINO": floats,
    "float32, ours, onnxruntime": ours(
        Opening(weights=(None,), activations=(None,)), suffix=".onnx"
    ),
    "8 bits, ours, onnxruntime": ours(W8A8, "ranges", "adaquant", "round-biases", suffix=".onnx"),
    "8 bits, ours, OpenVINO": ours(W8A8, "ranges", "adaquant", "round-biases", suffix=".openvino"),
    "8 bits, NNCF quantize": nncf_quantized,
    "8 bits, NNCF accuracy-aware": nncf_within_accuracy,
    "weights of 8 bits, NNCF": lambda seed: nncf_compressed(seed, None),
    "weights of 4 and 8 bits, half each, NNCF": lambda seed: nncf_compressed(seed, 0.5),
    "weights of 4 bits, NNCF": lambda seed: nncf_compressed(seed, 1.0),
    "weights of 4 bits, torchao": lambda seed: torchao_weights(seed, {"": 4}),
    "weights of 4 bits, ours": ours(
        Opening(weights=(4,), activations=(None,)), "adaquant", suffix=".onnx"
    ),
    "weights of 3 bits, torchao": lambda seed: torchao_weights(seed, {"": 3}),
    "weights of 3 bits, ours": ours(
        Opening(weights=(3,), activations=(None,)), "adaquant", suffix=".onnx"
    ),
    "weights of 2 bits, torchao": lambda seed: torchao_weights(seed, {"": 2}),
    "weights of 2 bits, ours": ours(
        Opening(weights=(2,), activations=(None,)), "adaquant", suffix=".onnx"
    ),
}


def accuracy(run: Run, count: int) -> float:
    """The accuracy in percent on the first test images."""
    shown, classes = images(TEST)
    parts = shown[:count].split(PORTION)
    right = torch.cat([torch.from_numpy(run(part.numpy())).argmax(1) for part in parts])
    return 100 * float((right == classes[:count]).double().mean())


def latencies(runs: Mapping[str, Run]) -> dict[str, float]:
    """The median latency of a single image in milliseconds, measured in turns."""
    one = images(TEST)[0][:1].numpy()
    seen: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(RUNS):
        for name, run in runs.items():
            begun = time.perf_counter()
            run(one)
            seen[name].append(1000 * (time.perf_counter() - begun))
    return {name: float(np.median(found[RUNS // 10 :])) for name, found in seen.items()}


def measured(seed: int, count: int, folder: Path) -> dict[str, dict[str, Any]]:
    """The figures of all rows; what a tool says where it fails."""
    path = folder / f"peers-{seed}.json"
    found: dict[str, dict[str, Any]] = json.loads(path.read_text()) if path.exists() else {}
    runs: dict[str, Run] = {}
    for name, make in ROWS.items():
        if "fault" in found.get(name, {}):
            continue
        try:
            made = make(seed)
        except Exception as error:  # noqa: BLE001  # whatever another tool raises is its result
            found[name] = {"fault": f"{type(error).__name__}: {str(error).splitlines()[0][:150]}"}
        else:
            runs[name] = made.run
            if name not in found:
                right = accuracy(made.run, count)
                found[name] = {"accuracy": right, "bits": made.bits, "seconds": made.seconds}
        print(name, found[name], flush=True)
        write_atomic(path, json.dumps(found, indent=1).encode())
    for name, milliseconds in latencies(runs).items():
        found[name]["latency_ms"] = milliseconds
    write_atomic(path, json.dumps(found, indent=1).encode())
    return found


def main() -> None:
    """Measure all rows, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--run", type=Path, default=Path("runs/own_peers"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    lines: list[list[str]] = []
    found = measured(options.seed, options.images, options.run)
    for name, row in sorted(found.items(), key=lambda pair: [*ROWS].index(pair[0])):
        if "fault" in row:
            lines.append([name, row["fault"], "", ""])
        else:
            figures = (row["accuracy"], row["bits"], row["latency_ms"])
            lines.append([name, *(f"{value:.2f}" for value in figures)])
    show(["network", "test accuracy, %", "bits of a weight", "ms an image"], lines)


if __name__ == "__main__":
    main()
