"""What a task read: samples per split, shapes and ranges, and what was passed over.

Any source of data fills these facts; the terminal shows them before any work, and the report and
`results.json` repeat them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import FiniteFloat


@dataclass(frozen=True)
class ValueFacts:
    """The values of an input or a target, as the source has them.

    Attributes:
        shape: The shape of one sample.
        dtype: The type of the numbers, or `text`.
        low: The smallest value of all samples; None for texts.
        high: The largest value of all samples; None for texts.
    """

    shape: tuple[int, ...]
    dtype: str
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None


@dataclass(frozen=True)
class SplitFacts:
    """The samples of one split.

    Attributes:
        samples: The number of samples.
        digest: The SHA-256 of all inputs and targets, hexadecimal.
        origin: Where the samples come from, such as `val/` or "drawn: 10 % of train".
        classes: Class name -> number of samples, in the order of a network's outputs; empty where
            targets are no classes.
        inputs: Input name -> its values.
        targets: The values of the targets; None where targets are classes.
    """

    samples: int
    digest: str
    origin: str = ""
    classes: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, ValueFacts] = field(default_factory=dict)
    targets: ValueFacts | None = None


@dataclass(frozen=True)
class DataFacts:
    """What a task read, and how.

    Attributes:
        source: The name of the data.
        kind: The kind of file or folder in words, with counts of files where there are several.
        splits: `train`, `validation` and `test`.
        notes: Sentences on how the data were read, where there was a decision.
        passed_over: What lies there and was not read, and why.
        warnings: Sentences on data from which a network will hardly learn.
    """

    source: str
    kind: str
    splits: Mapping[str, SplitFacts]
    notes: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
