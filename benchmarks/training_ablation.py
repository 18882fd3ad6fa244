"""The gain of every part of a training, paired over seeds with the default training.

    python -m benchmarks.training_ablation [--space architecture|bits] [--length short|long]
        [--data selection|report] [--seeds 10 11 12] [--variants VARIANT ...] [--run FOLDER]
        [--table]

A variant is `default`, or settings of the training that differ from the defaults, such as
`divergence=alpha` or `teacher=recursive,random_subnets=3`; several callbacks are joined by `+`, as
in `callbacks=ema+features`. Without `--variants`, there is a variant for every part of a training
in the table of parts that is not a default, and for a few shares of labels and numbers of subnets.

For each seed and variant, a supernet is trained; its subnets are deployed and tested. The space
`architecture` chooses widths, depths and bits; 24 subnets in three narrow bins of BitOPs are
tested, and the largest: the table shows the mean over the 24, over the six with the fewest BitOPs,
and the largest. The space `bits` has one architecture; its four networks of uniform bits are tested
and five random mixes: the table shows the mean over the nine, and the four. For `default`, a figure
is the accuracy in percent, for all other variants the paired difference in points, each with the
standard error over the seeds. CPU time is that of the training over that of the default's.

Settings are chosen with `--data selection`, on images of the training set, and seeds from 10;
results are shown with `--data report`, on the test images, and seeds 0, 1 and 2. Every result is
kept in FOLDER; `--table` prints the table of the present results and trains nothing. A killed
training begins anew; start the run again with the same command.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter

from benchmarks.fidelity import (
    IMAGE,
    LENGTHS,
    SHEETS,
    SUBNETS,
    FloatArray,
    accuracy,
    images,
    residual_space,
    shown,
    stratified,
)
from nas.files.durable import write_atomic
from nas.parts import Parts
from nas.recipe.methods import KINDS, methods_of
from nas.tasks.criteria import Classification
from search_spaces.policy import Policy, uniform
from search_spaces.residual import residual
from search_spaces.space import Genotype, SearchSpace
from supernets.supernet import Supernet
from supernets.training.schedule import TrainingSettings
from supernets.training.train import TrainingDiverged, train

DEFAULT = "default"
SEEDS = {"selection": (10, 11, 12), "report": (0, 1, 2)}
COUNTS = (
    *("distillation=0", "distillation=0.25", "distillation=0.75", "distillation=1"),
    *("random_subnets=0", "random_subnets=1", "random_subnets=3"),
)
BITS, MIXES = (2, 3, 4, 8), 5
_SETTINGS = TypeAdapter(TrainingSettings)


def bits_space() -> SearchSpace:
    """One residual network with elastic bits of every block (71 thousand weights)."""
    policy = Policy(weight_bits=BITS, activation_bits=BITS, fineness="block")
    widths, depths = ((8,), (8,), (32,), (64,)), ((1,), (1,), (1,))
    return residual(**IMAGE, widths=widths, depths=depths, policy=policy)


def mixes(space: SearchSpace) -> list[Genotype]:
    """The networks of uniform bits, then random ones."""
    rng = np.random.default_rng(0)
    found = [uniform(space, bits, space.largest) for bits in BITS]
    return [g for g in found if g is not None] + [space.sample(rng) for _ in range(MIXES)]


def by_cost(space: SearchSpace) -> list[Genotype]:
    """The stratified subnets from the cheapest to the costliest in BitOPs, then the largest."""
    subnets, cost = stratified(space)
    return [*(subnets[i] for i in np.argsort(cost, kind="stable")), space.largest]


@dataclass(frozen=True)
class Tested:
    """A space, its tested subnets, and the columns of the table: name -> subnets of a mean."""

    space: Callable[[], SearchSpace]
    subnets: Callable[[SearchSpace], list[Genotype]]
    columns: Mapping[str, slice]


SPACES = {
    "architecture": Tested(
        residual_space,
        by_cost,
        {
            "mean": slice(SUBNETS),
            "cheaper quarter": slice(SUBNETS // 4),
            "largest": slice(SUBNETS, SUBNETS + 1),
        },
    ),
    "bits": Tested(
        bits_space,
        mixes,
        {
            "mean": slice(None),
            **{f"W{bits}A{bits}": slice(i, i + 1) for i, bits in enumerate(BITS)},
        },
    ),
}


def variants() -> list[str]:
    """The default, all parts that are no defaults, and the values of `COUNTS`."""
    single = [
        f"{kind}={name}" for kind in KINDS for name in Parts(kind) if name != Parts(kind).default
    ]
    return [DEFAULT, *single, *(f"callbacks={name}" for name in Parts("callback")), *COUNTS]


def overrides(variant: str) -> dict[str, object]:
    """The settings that a variant names, as texts.

    Raises:
        ValueError: The text names no setting, or is none of this form.
    """
    found: dict[str, object] = {}
    for part in () if variant == DEFAULT else variant.split(","):
        name, equals, value = part.partition("=")
        if not equals or name not in asdict(TrainingSettings()):
            raise ValueError(
                f"a variant is {DEFAULT} or SETTING=VALUE,..., given {variant!r}; the settings are "
                f"{', '.join(asdict(TrainingSettings()))}"
            )
        found[name] = value.split("+") if name == "callbacks" else value
    return found


@dataclass(frozen=True)
class Trial:
    """The training of one variant with one seed."""

    space: str
    length: str
    data: str
    variant: str
    seed: int

    def settings(self) -> TrainingSettings:
        """The default settings with those of the variant; refuses what is no setting."""
        floats, quantized = LENGTHS[self.length]
        default = {"float_epochs": floats, "quantized_epochs": quantized, "seed": self.seed}
        return _SETTINGS.validate_python({**default, **overrides(self.variant)})

    def path(self, folder: Path) -> Path:
        """The file of the result."""
        name = "_".join([self.space, self.length, self.data, self.variant, f"seed{self.seed}"])
        return folder / f"{name}.json"

    def result(self, folder: Path) -> dict | None:
        """The result kept in `folder`, None before the training.

        Raises:
            ValueError: The result is that of other settings, as defaults have changed since.
        """
        path = self.path(folder)
        if not path.exists():
            return None
        found, now = json.loads(path.read_text()), json.loads(json.dumps(asdict(self.settings())))
        changed = [name for name, value in found["settings"].items() if now.get(name) != value]
        if changed:
            raise ValueError(
                f"{path} was made with other settings than today's: {', '.join(changed)}; give "
                "another --run folder"
            )
        return found

    def run(self, folder: Path) -> None:
        """Train, test the subnets and keep the result."""
        tested, settings = SPACES[self.space], self.settings()
        space = tested.space()
        methods = methods_of(settings)
        supernet = Supernet(space, seed=self.seed, quantizer=methods.quantizer)
        found: dict[str, object] = {"settings": asdict(settings)}
        start = time.process_time()
        with tempfile.TemporaryDirectory() as temporary:
            try:
                train(
                    supernet,
                    images(self.data)[0],
                    settings,
                    criterion=Classification(),
                    state_path=Path(temporary) / "state",
                    methods=methods,
                )
            except TrainingDiverged as error:
                found["diverged"] = str(error)
        found["cpu_seconds"] = time.process_time() - start
        if "diverged" not in found:
            subnets = tested.subnets(space)
            found["accuracy"] = [accuracy(supernet, g, data=self.data) for g in subnets]
        write_atomic(self.path(folder), json.dumps(found).encode())


def figures(trial: Trial, result: dict) -> FloatArray:
    """The columns of the table in percent, NaN for a diverged training, and the CPU seconds."""
    columns = SPACES[trial.space].columns.values()
    scores = np.array(result.get("accuracy", []))
    means = [scores[held].mean() if len(scores) else np.nan for held in columns]
    return np.array([*means, result["cpu_seconds"]])


def rows(trials: Sequence[Trial], folder: Path) -> Iterator[str]:
    """The lines of the table: variants, compared with the default on the seeds both have."""
    by_variant: dict[str, dict[int, FloatArray]] = {}
    for trial in trials:
        if (result := trial.result(folder)) is not None:
            by_variant.setdefault(trial.variant, {})[trial.seed] = figures(trial, result)
    base = by_variant.get(DEFAULT, {})
    for variant, by_seed in by_variant.items():
        seeds = [seed for seed in by_seed if seed in base]
        if not seeds:
            continue
        own, default = (np.array([held[seed] for seed in seeds]) for held in (by_seed, base))
        diverged = int(np.isnan(own[:, 0]).sum())
        compared = own if variant == DEFAULT else own - default
        cells = [shown(column, signed=variant != DEFAULT) for column in compared.T[:-1]]
        time_cell = f"{np.median(own[:, -1] / default[:, -1]):.2f}"
        note = f"{diverged} of {len(seeds)} diverged" if diverged else ""
        yield f"| {variant} | {' | '.join(cells)} | {time_cell} | {len(seeds)} | {note} |"


def run_all(trials: Sequence[Trial], folder: Path) -> int:
    """Do the missing trials; returns the number of those that failed, which are told and left."""
    failed = 0
    for number, trial in enumerate(trials, 1):
        if trial.result(folder) is not None:
            continue
        try:
            trial.run(folder)
        except Exception:  # noqa: BLE001  # a faulty part must not end the trainings of all others
            failed += 1
            traceback.print_exc()
        print(f"{number}/{len(trials)} {trial.path(folder).stem}", file=sys.stderr, flush=True)
    return failed


def main() -> None:
    """Do the missing trainings and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--space", choices=SPACES, default="architecture")
    parser.add_argument("--length", choices=LENGTHS, default="short")
    parser.add_argument("--data", choices=SHEETS, default="selection")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--variants", nargs="+", default=variants())
    parser.add_argument("--run", type=Path, default=Path("runs/training_ablation"))
    parser.add_argument("--table", action="store_true", help="only print the present results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.run.mkdir(parents=True, exist_ok=True)
    names = dict.fromkeys([DEFAULT, *options.variants])
    trials = [
        Trial(options.space, options.length, options.data, variant, seed)
        for seed in options.seeds or SEEDS[options.data]
        for variant in names
    ]
    for trial in trials:
        methods_of(trial.settings())  # refuses unknown names before any training
    failed = 0 if options.table else run_all(trials, options.run)
    columns = SPACES[options.space].columns
    print(f"| variant | {' | '.join(columns)} | CPU time | seeds | |")
    print(f"| {' | '.join(['---'] * (len(columns) + 4))} |")
    for row in rows(trials, options.run):
        print(row)
    sys.exit(f"{failed} trainings failed" if failed else 0)


if __name__ == "__main__":
    main()
