"""A trained ResNet-20 made narrower without training, with 256 unlabelled images.

    python -m benchmarks.own_model.slimming [--parts scores widths joint] [--seeds 0 1 2]
        [--run FOLDER] [--seconds 28]

The float network gets 90.3 % of the first 1,000 test images right. The inner channels of all blocks
can be removed, and blocks as a whole; the channels between blocks stay whole here.

`scores` compares scores of importance on training images that calibrate nothing: all blocks keep
the same share of their channels. `widths` is measured on test images: the widths of blocks come
from the loss of each, measured once at half its width and spread over other widths by the error
that the score foretells, and then from a few rounds of changes that are kept if they bring the
outputs nearer to those of the float network. `joint` does the same for several cuts, each at
several uniform bits of weights. A seed draws the images; no label is used to choose anything.

Results are kept in FOLDER, and a run continues where it was stopped; `--seconds` ends it by itself.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path

import torch
from torch import nn

from benchmarks.own_model.data import resnet
from benchmarks.own_model.narrower import (
    JUDGED,
    SHARES,
    Foretold,
    Kept,
    Slimming,
    alike,
    allocated,
    divergence,
    given,
    shown,
    tested,
    traced,
)
from benchmarks.search_tabular import show
from nas.evaluation.rewrites import post_training
from nas.files.durable import write_atomic
from nas.parts import Parts
from search_spaces.opening import Opening, opened
from search_spaces.slimming import slimmed
from search_spaces.space import Genotype, SearchSpace
from supernets.post_training import PostTraining, float_network

SEEDS, CUTS = (0, 1, 2), (0.2, 0.4)
SELECTION = 10  # the first seed of those with which settings are chosen
TEST = ("test_00",)
KINDS = ("first channels", "sorted, repaired", "by loss", "by loss and changes")
JOINT_CUTS, JOINT_BITS = (0.0, 0.2, 0.4), (2, 3, 4, 5, 8)
BUDGETS = (0.5, 0.375, 0.3, 0.25)  # of the bits times multiplications at 8 bits


def scores(seed: int, kept: Kept) -> dict[str, object]:
    """Accuracy and distance on training images, for every score, all groups cut alike."""
    found: dict[str, object] = {}
    for score in ("", *Parts("importance")):
        made = cache(partial(Slimming, seed, kept, score))
        for cut in CUTS:
            for repaired in (False, True):
                module = cache(partial(_cut_alike, made, cut, repaired))
                key = f"scores {score} {cut} {repaired}"
                found[f"{score or 'first channels'} {cut} {repaired}"] = {
                    "accuracy": kept(f"{key} accuracy", lambda m=module: tested(m(), JUDGED)),
                    "distance": kept(f"{key} distance", lambda m=module: judged(m())),
                }
    return found


def _cut_alike(make: Callable[[], Slimming], cut: float, repaired: bool) -> nn.Module:
    made = make()
    widths = alike(made, cut)
    if repaired:
        return made.module(widths)
    return float_network(made.space.decode(made.genotype(widths)), made.tensors).module()


def judged(module: nn.Module) -> float:
    """The divergence from the float network on training images that calibrate nothing."""
    return divergence(given(module, JUDGED), given(resnet(20), JUDGED))


def widths(seed: int, kept: Kept) -> dict[str, object]:
    """Accuracy on test images at both cuts, for widths of three kinds."""
    sheets = TEST if seed < SELECTION else JUDGED
    found: dict[str, object] = {"float": kept("float", lambda: tested(resnet(20), sheets))}
    first, made = Slimming(seed, kept, "", ()), Slimming(seed, kept)
    jointly = Slimming(seed, kept, rewrites=("least-squares", "joint-repair"))
    foretold = Foretold(made)
    for cut in CUTS:
        chosen = allocated(made, foretold, cut)
        same, greedy = alike(made, cut), foretold.cheapest(made, {}, cut)
        found[str(cut)] = {
            "first channels": first.tested(same, sheets),
            "sorted, repaired": made.tested(same, sheets),
            "by loss": made.tested(greedy, sheets),
            "by loss and changes": made.tested(chosen, sheets),
            "by loss, all layers together": jointly.tested(greedy, sheets),
            "saved": made.saved(chosen),
            "widths": chosen,
            "distances": [made.distance(each) for each in (same, greedy, chosen)],
        }
    return found


def joint(seed: int, kept: Kept) -> dict[str, object]:
    """Distance and accuracy of cuts at several uniform bits of weights."""
    sheets = TEST if seed < SELECTION else JUDGED
    made = Slimming(seed, kept)
    foretold = Foretold(made)
    opening = Opening(weights=JOINT_BITS, activations=(None,), fineness="network")
    space = SearchSpace(opened(slimmed(traced().graph, shares=SHARES), opening))
    maker = post_training(space, made.tensors, made.batches, rewrites=("least-squares", "adaquant"))
    points: list[Mapping[str, float]] = []
    for cut in JOINT_CUTS:
        chosen = foretold.cheapest(made, {}, cut) if cut else {}
        for bits in JOINT_BITS:
            picks = {**chosen, **{c.name: bits for c in space.choices if "bits" in c.name}}
            module = cache(partial(_rounded, maker, picked(space, picks)))
            points.append(
                {
                    "cut": cut,
                    "bits": bits,
                    "cost": (1 - made.saved(chosen)) * bits / JOINT_BITS[-1],
                    "distance": kept(
                        f"joint {cut} {bits} distance",
                        lambda m=module: divergence(shown(m(), made.batches), made.exact),
                    ),
                    "accuracy": kept(
                        f"joint {cut} {bits} accuracy", lambda m=module: tested(m(), sheets)
                    ),
                }
            )
    return {"points": points}


def _rounded(maker: PostTraining, genotype: Genotype) -> nn.Module:
    return maker(genotype).module()


def picked(space: SearchSpace, picks: Mapping[str, int]) -> Genotype:
    """The genotype with these plain options, and the largest ones of all other choices."""
    plain = space.plain_options
    return tuple(
        plain[c.name].index(picks[c.name]) if c.name in picks else len(c.options) - 1
        for c in space.choices
    )


PARTS = {"scores": scores, "widths": widths, "joint": joint}


def done(part: str, seed: int, folder: Path, seconds: float) -> Mapping[str, object]:
    """The result of a part; measured once, and kept."""
    path = folder / f"slimming-{part}-{seed}.json"
    if not path.exists():
        kept = Kept(folder / f"slimming-figures-{seed}.json", seconds)
        write_atomic(path, json.dumps(PARTS[part](seed, kept)).encode())
        print(part, seed, path.read_text(), flush=True)
    return json.loads(path.read_text())


def alone(points: Sequence[Mapping[str, float]], kind: str, budget: float) -> str:
    """The accuracy of the point of a kind within a budget that is nearest to the float network."""
    allowed = {
        "channels": lambda p: p["bits"] == JOINT_BITS[-1],
        "precision": lambda p: not p["cut"],
        "both": lambda _: True,
    }[kind]
    within = [p for p in points if allowed(p) and p["cost"] <= budget + 1e-9]
    if not within:
        return ""
    best = min(within, key=lambda p: p["distance"])
    return f"{best['accuracy']:.1f} (-{best['cut']:.0%}, {best['bits']} bits)"


def tell(part: str, results: Mapping[int, Mapping[str, object]]) -> None:
    """Print the table of a part."""
    if part == "scores":
        ((_, found),) = [*results.items()][:1]
        names = dict.fromkeys(key.rsplit(" ", 2)[0] for key in found)
        columns = [(cut, repaired) for cut in CUTS for repaired in (False, True)]
        head = [f"-{cut:.0%}{', repaired' if repaired else ''}" for cut, repaired in columns]
        lines = []
        for name in names:
            cells = []
            for cut, repaired in columns:
                held = [r[f"{name} {cut} {repaired}"] for r in results.values()]
                cells.append(
                    ", ".join(f"{h['accuracy']:.1f} ({h['distance']:.3f})" for h in held)  # pyright: ignore
                )
            lines.append([name, *cells])
        show(["score", *head], lines)
    elif part == "widths":
        kinds = (*KINDS, "by loss, all layers together")
        lines = [
            [
                f"-{cut:.0%}",
                kind,
                ", ".join(f"{r[str(cut)][kind]:.1f}" for r in results.values()),  # pyright: ignore
            ]
            for cut in CUTS
            for kind in kinds
        ]
        show(["FLOPs", "widths", "accuracy, %, by seed"], lines)
    else:
        kinds = ("channels", "precision", "both")
        for seed, found in results.items():
            points: Sequence[Mapping[str, float]] = found["points"]  # pyright: ignore
            lines = [
                [f"{budget:.0%}", *(alone(points, kind, budget) for kind in kinds)]
                for budget in BUDGETS
            ]
            show([f"cost, seed {seed}", *kinds], lines)


def main() -> None:
    """Measure what is not measured yet, and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--seeds", nargs="*", type=int, default=list(SEEDS))
    parser.add_argument("--run", type=Path, default=Path("runs/own_model"))
    parser.add_argument("--seconds", type=float, default=1e9)
    options = parser.parse_args()
    options.run.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for part in options.parts:
        tell(part, {seed: done(part, seed, options.run, options.seconds) for seed in options.seeds})


if __name__ == "__main__":
    main()
