"""The task of texts with a class each, in the columns of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from nas.facts.usage import Port
from nas.memory import shortage
from nas.tasks.aims import Prepared, classified
from nas.tasks.section import SplitSection
from nas.tasks.source import DataSource, Reading, Samples
from nas.tasks.task import Task, TaskError
from nas.tasks.text_files import read_columns, short_name
from nas.tasks.tokens import PADDING, TOKENS, ByteSection, Tokenizer, TokenizerSection
from search_spaces.ops import Input

_TEXT = "text"


class TextClassificationTask(SplitSection):
    """A task section for tables of texts with their classes.

    A table is a `.tsv` or `.csv` file, plain or `.gz`, whose first line names the columns. The
    input of a network is the first `length` tokens of a text; shorter texts end in padding.

    Attributes:
        train: The table of the training texts.
        validation: The table for the search; drawn from `train` where left out.
        test: The table for the report; drawn from `train` where left out.
        text: The column of the texts.
        label: The column of the classes.
        length: The number of tokens that a network reads.
        tokenizer: The tokenizer; words are those of the training split.
        label_smoothing: The share of each target that training spreads evenly over all classes.
    """

    train: Path
    validation: Path | None = None
    test: Path | None = None
    text: str = "text"
    label: str = "label"
    length: Annotated[int, Field(ge=1)] = 64
    tokenizer: TokenizerSection = ByteSection()
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If a table cannot be read, there is one class only, or memory is too small.
        """
        files = {"train": self.train, "validation": self.validation, "test": self.test}
        given = {split: path for split, path in files.items() if path is not None}
        splits = {split: self._read(path) for split, path in given.items()}
        reading = Reading(
            kind=f"a table of texts in {self.text!r} with classes in {self.label!r}",
            origins={split: path.name for split, path in given.items()},
        )
        source = DataSource(short_name(self.train), **splits, reading=reading)
        parts, aim = classified(self, source, self.label_smoothing)
        tokenizer = self.tokenizer.learned(parts.train.inputs[_TEXT])

        def tensors(samples: Samples) -> dict[str, Tensor]:
            return {TOKENS: torch.from_numpy(self._encoded(tokenizer, samples.inputs[_TEXT]))}

        spec = Input(TOKENS, (self.length,), "int64", tokenizer.vocabulary)
        about = f"The first {self.length} tokens of a text; a shorter text ends in padding."
        port = Port(about, ("token",), tokenizer=tokenizer.stated())
        inputs = Prepared((spec,), tensors, {TOKENS: port})
        return aim.task(source.name, parts, inputs)

    def _read(self, path: Path) -> Samples:
        rows = read_columns(path, (self.text, self.label))
        if missing := shortage(len(rows) * self.length * np.dtype(np.int64).itemsize):
            raise TaskError(f"to read {path} {missing}; give fewer texts or a smaller length")
        texts, labels = zip(*rows, strict=True)
        return Samples({_TEXT: np.array(texts, dtype=object)}, np.array(labels))

    def _encoded(self, tokenizer: Tokenizer, texts: np.ndarray) -> np.ndarray:
        made = np.full((len(texts), self.length), PADDING, dtype=np.int64)
        for row, codes in zip(made, tokenizer.encode(texts), strict=True):
            row[: len(codes)] = codes[: self.length]
        return made
