"""A first target file for a device of the user's own, from a few answers."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.drafting.asking import Ask, Check
from nas.drafting.examples import require_new
from nas.drafting.text import written
from nas.files.durable import write_atomic
from nas.targets.errors import TargetError
from nas.targets.numerics import FULL
from nas.targets.schema import numerics_in
from nas.targets.target_files import checked_target

ANALYTICAL = "analytical"
FIGURES = ("measured", "simulated", "imported", ANALYTICAL)
NO_LIMIT = "no limit"
_WEIGHTED = ("Conv2d", "DepthwiseConv2d", "Linear")
_PLAIN = (
    *("Add", "Multiply", "GlobalPool", "MaxPool2d", "AvgPool2d"),
    *("Resize", "Concat", "Permute", "DepthToSpace"),
    *("Affine", "Scale", "Mean", "AdaptiveAvgPool2d", "Slice", "Pad"),
)
_FOLDED = ("Activation", "LeakyReLU", "Clamp", "BatchNorm2d")
_FUSION = (
    *((conv, "BatchNorm2d", "Activation") for conv in _WEIGHTED[:2]),
    *((conv, "BatchNorm2d") for conv in _WEIGHTED[:2]),
    *((kind, "Activation") for kind in (*_WEIGHTED, "Add")),
)
_HEAD = "A device for elastic-nas. docs/formats.md lists every key of a target file."
_COMMENTS = {
    "name": "the name in recipes, reports and file names",
    "device": "in words, for reports",
    "provenance": "where the figures come from; reports repeat this word",
    "otherwise": "other formats run in the smallest of these that hold them; or: refuse",
    "storage": "weights are stored at their own bits; container: at those that compute them",
    "table": "latencies of kernels, beside this file; `nas targets template` lists the rows",
    "fusion": "Operators that run as one kernel, so that they have one latency. Correct this list.",
    "supports": "What runs natively, weight x input. No operator runs that no section lists: add\n"
    "# MatMul, Softmax, SplitHeads, MergeHeads, LayerNorm and others for transformers.",
    "supports.weight_symmetry": "asymmetric: weights with a zero point",
    "supports.activation_granularity": "one scale for a whole tensor",
    "memory": "Memory that is left beside program, stack and buffers.",
    "memory.flash_bytes": "for the model",
    "memory.ram_bytes": "for the activations at one time",
    "memory.total_bytes": "for model and activations together",
    "roofline": "A kernel takes as long as its arithmetic or its memory traffic, the longer one.",
    "roofline.gmacs_per_s": "10^9 multiply-accumulates per second, at best",
    "roofline.bandwidth_gb_per_s": "10^9 bytes per second",
    "roofline.overhead_us": "microseconds for each kernel",
}


@dataclass(frozen=True)
class _Answers:
    """What the command line gave, by the name of the option, and whom to ask for the rest."""

    given: Mapping[str, Any]
    ask: Ask

    def text(
        self, key: str, question: str, *, options: Sequence[str] = (), default: str | None = None
    ) -> str:
        """The text of an answer."""
        if key in self.given:
            return str(self.given[key])
        return self.ask(question, key=_option(key), options=options, default=default)

    def formats(self) -> list[str]:
        """The pairs of formats in which layers with weights run."""
        if "format" in self.given:
            return _checked(self.given["format"])
        question = "In which formats do layers with weights run, weight x input?"
        answer = self.ask(
            f"{question} (such as: int4xint8 int8xint8)",
            key=_option("format"),
            default="int8xint8",
            check=lambda text: numerics_in(text.split()),
        )
        return answer.split()

    def number(self, key: str, question: str, *, default: str | None = None) -> float | None:
        """The number of an answer; None if the answer is the default."""
        if key in self.given:
            return _plain(float(self.given[key]))
        answer = self.ask(question, key=_option(key), default=default, check=_number_or(default))
        return None if answer == default else _plain(float(answer))


def target_draft(path: Path, given: Mapping[str, Any], *, ask: Ask) -> str:
    """Write a target file with comments, after it was checked; returns where its figures come from.

    Args:
        path: The file to write, which must not exist.
        given: Answers that are known, by the name of the option: `device`, `runtime`, `figures`,
            `format`, `otherwise`, `flash_bytes`, `ram_bytes`, `total_bytes`, `gmacs_per_s`,
            `bandwidth_gb_per_s` and `overhead_us`.
        ask: The function that asks for all others.

    Raises:
        RecipeError: If `path` exists, or nobody can be asked what is not known.
        TargetError: If answers make no target; the message lists all problems.
    """
    require_new(path)
    content = _content(path, _Answers(given, ask))
    text = written(content, _COMMENTS, head=_HEAD)
    checked_target(tomllib.loads(text), path)
    write_atomic(path, text.encode())
    return content["provenance"]


def _content(path: Path, answers: _Answers) -> dict[str, Any]:
    about = {
        "name": path.stem,
        "device": answers.text("device", "What is the device, in words?"),
        "runtime": answers.text("runtime", "Which software runs networks there, in words?"),
    }
    provenance = answers.text(
        "figures", "Where do its latencies come from?", options=FIGURES, default=FIGURES[0]
    )
    formats = answers.formats()
    otherwise = answers.text(
        "otherwise",
        "Other formats: run them in wider ones of these, or refuse them?",
        options=("container", "refuse"),
        default="container",
    )
    about |= {"provenance": provenance, "otherwise": otherwise, "storage": "packed"}
    table = {} if provenance == ANALYTICAL else {"table": f"{path.stem}.csv"}
    rules = {"fusion": [*map(list, _FUSION)], "supports": [*_supports(formats)]}
    memory = {"memory": found} if (found := _memory(answers)) else {}
    roofline = {"roofline": _roofline(answers, formats)} if provenance == ANALYTICAL else {}
    return {**about, **table, **rules, **memory, **roofline}


def _supports(formats: Sequence[str]) -> Iterator[dict[str, Any]]:
    read = dict.fromkeys(numerics.activation for numerics in numerics_in(formats))
    once = {"activation_granularity": ["per-tensor"]}
    weights = {"weight_symmetry": ["symmetric"]}
    yield {"operators": [*_WEIGHTED], "formats": [*formats], **weights, **once}
    yield {"operators": [*_PLAIN], "formats": [*read], **once}
    yield {"operators": [*_FOLDED], "formats": [*dict.fromkeys([*read, FULL])]}


def _memory(answers: _Answers) -> dict[str, float]:
    """The memories of the device: flash and RAM, unless one memory for both is given."""
    questions = {
        "flash_bytes": "How many bytes of flash are left for the model?",
        "ram_bytes": "How many bytes of RAM are left for activations?",
        "total_bytes": "How many bytes are left for the model and its activations?",
    }
    kinds = [*questions] if "total_bytes" in answers.given else ["flash_bytes", "ram_bytes"]
    asked = [key for key in kinds if key in answers.given or len(kinds) == 2]
    found = {key: answers.number(key, questions[key], default=NO_LIMIT) for key in asked}
    return {key: number for key, number in found.items() if number is not None}


def _roofline(answers: _Answers, formats: Sequence[str]) -> dict[str, Any]:
    rates = dict(answers.given.get("gmacs_per_s", {}))
    for pair in map(str, numerics_in(formats) if not rates else ()):
        question = f"How many 10^9 multiply-accumulates a second at {pair}, at best?"
        key = f"{_option('gmacs_per_s')} {pair}=NUMBER"
        rates[pair] = _plain(float(answers.ask(question, key=key, check=_number)))
    return {
        "gmacs_per_s": rates,
        "bandwidth_gb_per_s": answers.number(
            "bandwidth_gb_per_s", "How many 10^9 bytes a second come from its memory?"
        ),
        "overhead_us": answers.number("overhead_us", "How many microseconds does a kernel cost?"),
    }


def _checked(formats: Sequence[str]) -> list[str]:
    try:
        numerics_in(formats)
    except ValueError as error:
        raise TargetError(f"--format {' '.join(formats)}: {error}") from error
    return [*formats]


def _option(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def _plain(number: float) -> float:
    """A number as people write it: whole numbers without a point."""
    return int(number) if number.is_integer() else number


def _number(text: str) -> None:
    """Raise `ValueError` if a text is no finite number above or equal to zero."""
    try:
        fits = 0 <= float(text) < math.inf
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{text!r} is no number; write digits, such as 256000")


def _number_or(default: str | None) -> Check:
    return lambda text: None if text == default else _number(text)
