"""The price of 8-bit files that give the same numbers on processors without VNNI, as tables.

    python -m benchmarks.other_cpu

The first table is for networks of random weights in every arrangement: the time of one image on
this machine, measured in turns, and the error of the logits on a Haswell, which Debian's qemu-user
emulates (`apt-get install qemu-user`). The second table is for a supernet trained on digits whose
weights have 7 or 8 bits: the value of the eighth bit. The script takes about five minutes.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from nas.export import export_onnx, verify
from nas.profiling.timing import Session, Timed, device_name, take_turns
from nas.targets.saturation import EightBitWeights, processor_saturates
from nas.tasks.digits import DigitsTask
from search_spaces.mobilenet import mobilenet
from search_spaces.ops import Input
from search_spaces.policy import LayerPrecision, Policy, uniform
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.deployed import Deployed
from supernets.extract import extract
from supernets.supernet import Supernet
from supernets.training.train import TrainingSettings, train

IMAGES = 64
OPTION = "session.x64quantprecision=1"
RUN = """
import sys, numpy, onnxruntime
path, images, out, *given = sys.argv[1:]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
for option in given:
    options.add_session_config_entry(*option.split("="))
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
numpy.save(out, session.run(None, {"image": numpy.load(images)})[0])
"""


@dataclass(frozen=True)
class Arrangement:
    """An arrangement of an 8-bit network in a file.

    It has the bits of weights and activations, the type of 8-bit weights, and a session option.
    """

    name: str
    weight_bits: int | None = 8
    activation_bits: int | None = 8
    weights: EightBitWeights = "signed"
    options: tuple[str, ...] = ()
    edges: bool = False

    def policy(self) -> Policy:
        """The policy with these bits in inner layers; if `edges`, also in first and last ones."""
        kind = _Everywhere if self.edges else Policy
        return kind(
            weight_bits=(self.weight_bits,),
            activation_bits=(self.activation_bits,),
            edge_bits=None if self.weight_bits is None else 8,
        )


class _Everywhere(Policy):
    """A policy whose first and last layers have the precision of all others."""

    def edge(self) -> LayerPrecision:
        """The precision of first and last layers, which is that of all others."""
        return self.layer("", "", "")


ARRANGEMENTS = (
    Arrangement("signed weights of 8 bits"),
    Arrangement(f"the same, {OPTION}", options=(OPTION,)),
    Arrangement("unsigned weights of 8 bits", weights="unsigned"),
    Arrangement("signed weights of 7 bits, edges unsigned", weight_bits=7, weights="unsigned"),
    Arrangement("signed weights of 8 bits, activations of 7", activation_bits=7, edges=True),
    Arrangement("float32", weight_bits=None, activation_bits=None),
)


def spaces(policy: Policy) -> Iterator[tuple[str, SearchSpace]]:
    """The spaces by name; each has one network."""
    digits = {"inputs": (Input("image", (1, 8, 8)),), "output": (10,), "policy": policy}
    cifar = {"inputs": (Input("image", (3, 32, 32)),), "output": (10,), "policy": policy}
    deep = ((2,), (2,), (2,))
    yield "residual, 8 x 8", residual(**digits, widths=((16,), (16,), (24,)), depths=((2,), (2,)))
    wide = ((32,), (32,), (64,), (128,))
    yield "residual, 32 x 32", residual(**cifar, widths=wide, depths=deep)
    yield (
        "MobileNetV3-like, 96 x 96",
        mobilenet(
            inputs=(Input("image", (3, 96, 96)),),
            output=(10,),
            depths=(2,),
            kernels=(3,),
            expansions=(4,),
            policy=policy,
        ),
    )


def emulated(path: Path, images: Path, out: Path, options: Iterable[str]) -> np.ndarray | None:
    """The logits of a file on an emulated Haswell; None without an emulator."""
    qemu = shutil.which("qemu-x86_64")
    if qemu is None:
        return None
    script = out.with_suffix(".py")
    script.write_text(RUN)
    site = Path(onnxruntime.__file__).parents[1]
    python = str(Path(sys.executable).resolve())
    subprocess.run(
        [qemu, "-cpu", "Haswell", python, *map(str, (script, path, images, out)), *options],
        check=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
    )
    return np.load(out)


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    """The logits of a file on this machine."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": images})[0])


def exported(folder: Path) -> dict[str, dict[Arrangement, Path]]:
    """A file for every network and arrangement."""
    files: dict[str, dict[Arrangement, Path]] = {}
    for arrangement in ARRANGEMENTS:
        for name, space in spaces(arrangement.policy()):
            path = folder / f"{name}, {ARRANGEMENTS.index(arrangement)}.onnx"
            weights = arrangement.weights
            export_onnx(random_network(space), path, eight_bit_weights=weights)
            files.setdefault(name, {})[arrangement] = path
    return files


def random_network(space: SearchSpace) -> Deployed:
    """The largest network with random weights, calibrated on random images."""
    supernet = Supernet(space, seed=0)
    shape = space.decode(space.largest).shapes()["input"]
    images = [torch.randn(16, *shape, generator=torch.Generator().manual_seed(0))]
    initialise_steps(supernet, images)
    return deploy(extract(supernet, space.largest, images))


def rows(name: str, files: Mapping[Arrangement, Path], budget_ms: float) -> Iterator[str]:
    """The lines of one network."""
    timed = {a: Timed(Session(str(path), threads=1)) for a, path in files.items()}
    take_turns(timed.values(), budget_ms=budget_ms)
    base = timed[ARRANGEMENTS[0]].quiet_ms
    for arrangement, path in files.items():
        images = np.random.default_rng(0).standard_normal(_shape(path)).astype(np.float32)
        np.save(path.with_suffix(".images.npy"), images)
        place = path.with_suffix(".there.npy")
        there = emulated(path, path.with_suffix(".images.npy"), place, arrangement.options)
        here = logits(path, images)
        off = "not emulated" if there is None else f"{np.abs(here - there).max():.2g}"
        ms = timed[arrangement].quiet_ms
        yield (
            f"| {name} | {arrangement.name} | {ms:.3f} | {ms / base:.2f} | {off} "
            f"| {here.std():.2f} |"
        )


def _shape(path: Path) -> tuple[int, ...]:
    [given] = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).get_inputs()
    return (IMAGES, *given.shape[1:])


def accuracies(epochs: int, folder: Path) -> Iterator[str]:
    """The lines of test accuracies of one architecture at 8 and 7 bits, one supernet per seed."""
    task = DigitsTask().load()
    shared = {"activation_bits": (8,), "fineness": "network"}
    policy = Policy(weight_bits=(7, 8), **shared)
    space = residual(
        task.inputs,
        task.output,
        widths=((8,), (8,), (16,)),
        depths=((1,), (1,)),
        policy=policy,
    )
    images, labels = task.test_samples()
    for seed in range(3):
        supernet = Supernet(space, seed=seed)
        settings = TrainingSettings(float_epochs=epochs // 2, quantized_epochs=epochs // 2)
        state = folder / f"{seed}.safetensors"
        train(supernet, task.train, settings, criterion=task.criterion, state_path=state)
        found = []
        for bits in (8, 7):
            genotype = at_bits(space, bits)
            deployed = deploy(extract(supernet, genotype, task.calibration(256, 64)))
            export_onnx(deployed, path := folder / "n.onnx")
            checked = verify(path, deployed, images, labels, criterion=task.criterion)
            found.append(100 - checked.file_error)
        yield f"| {seed} | {found[0]:.2f} | {found[1]:.2f} | {found[1] - found[0]:+.2f} |"


def at_bits(space: SearchSpace, bits: int) -> Genotype:
    """The largest architecture with its weights at `bits`."""
    found = uniform(space, bits, space.largest)
    if found is None:
        raise ValueError(f"no choice of {space.name} offers {bits} bits")
    return found


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget-ms", type=float, default=5000.0, help="per network and file")
    parser.add_argument("--epochs", type=int, default=30, help="of the supernet on digits")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    vnni = "without" if processor_saturates() else "with"
    print(f"{device_name()} ({platform.machine()}), {vnni} VNNI, onnxruntime ", end="")
    print(f"{onnxruntime.__version__}, one thread, one image.\n")
    titles = ("network", "arrangement", "ms here", "times signed", "off on a Haswell", "spread")
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    with tempfile.TemporaryDirectory() as place:
        for name, files in exported(Path(place)).items():
            for row in rows(name, files, arguments.budget_ms):
                print(row, flush=True)
        print("\n| seed | weights of 8 bits, % right | of 7 bits, % right | points |")
        print("|---|---|---|---|")
        for row in accuracies(arguments.epochs, Path(place)):
            print(row, flush=True)


if __name__ == "__main__":
    main()
