"""The task of predicting each next token of a text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from nas.facts.usage import Port
from nas.tasks.aims import Aim, Prepared, tensors_of
from nas.tasks.criteria import TokenPrediction
from nas.tasks.facts import facts_of
from nas.tasks.section import Fraction, SplitSection
from nas.tasks.source import Divided, Reading, Samples
from nas.tasks.task import Task, TaskError
from nas.tasks.text_files import read_text, short_name
from nas.tasks.tokens import TOKENS, ByteSection, Codes, Tokenizer, TokenizerSection
from search_spaces.ops import Input


class NextTokenTask(SplitSection):
    """A task section for a text whose every next token is to be predicted.

    A sample is a window of `length` tokens, and its targets are the tokens one place later. Windows
    of a split follow one another without overlap. Splits that are not given are the end of the
    training text, and no window reaches across a border.

    Attributes:
        train: The text file for training, UTF-8, plain or `.gz`.
        validation: The text file for the search; cut from the end of `train` where left out.
        test: The text file for the report; cut from the end of `train` where left out.
        validation_fraction: The share of the text that is cut off for the search.
        length: The number of tokens in a window.
        tokenizer: The tokenizer; words are those of the training split.
    """

    train: Path
    validation: Path | None = None
    test: Path | None = None
    validation_fraction: Fraction = 0.1
    length: Annotated[int, Field(ge=1)] = 64
    tokenizer: TokenizerSection = ByteSection()

    def load(self) -> Task:
        """The task with all of its splits.

        Raises:
            TaskError: If a file cannot be read, a split is too short, or memory is too small.
        """
        texts = self._texts()
        tokenizer = self.tokenizer.learned(texts["train"].splitlines())
        splits = {split: self._split(tokenizer, split, text) for split, text in texts.items()}
        order = np.random.default_rng(self.seed).permutation(len(splits["train"]))
        shown = splits["train"].at(order[: self.limit])
        splits = {"train": shown, "validation": splits["validation"], "test": splits["test"]}
        name = short_name(self.train)
        parts = Divided(**splits, facts=facts_of(name, splits, self._reading()))
        spec = Input(TOKENS, (self.length,), "int64", tokenizer.vocabulary)
        about = "The tokens of a text; places behind a shorter text hold any token."
        answers = "A logit per token of the vocabulary; place i is about the token at place i + 1."
        told = Port(about, ("token",), tokenizer=tokenizer.stated())
        port = Port(answers, ("token", "vocabulary"))
        aim = Aim((self.length, tokenizer.vocabulary), TokenPrediction(), port)
        inputs = Prepared((spec,), tensors_of, {TOKENS: told})
        return aim.task(name, parts, inputs)

    def _reading(self) -> Reading:
        cut = {"validation": self.validation_fraction, "test": self.test_fraction}
        origins = {
            split: f"the last {share:.0%} of the text" if path is None else path.name
            for split, share in cut.items()
            for path in [getattr(self, split)]
        }
        return Reading(kind="text", origins={"train": self.train.name, **origins})

    def _texts(self) -> dict[str, str]:
        """The text of each split."""
        texts = {"train": read_text(self.train)}
        for split, path, fraction in (
            ("test", self.test, self.test_fraction),
            ("validation", self.validation, self.validation_fraction),
        ):
            if path is None:
                texts["train"], texts[split] = tail_cut(texts["train"], fraction)
            else:
                texts[split] = read_text(path)
        return texts

    def _split(self, tokenizer: Tokenizer, split: str, text: str) -> Samples:
        where = f"the {split} split of {getattr(self, split) or self.train}"
        inputs, targets = windows(where, encoded(tokenizer, text), self.length)
        return Samples({TOKENS: inputs}, targets)


def windows(where: str, codes: Codes, length: int) -> tuple[Codes, Codes]:
    """Inputs and targets of all whole windows of a text, `(n, length)` each.

    Args:
        where: The source, for errors.
        codes: The tokens of the text, `(tokens,)`.
        length: The number of tokens in a window.

    Raises:
        TaskError: If the text is shorter than a window and its next token.
    """
    count = (len(codes) - 1) // length
    if count < 1:
        raise TaskError(
            f"{where} has {len(codes)} tokens, but a window takes length + 1 = {length + 1}; give "
            "a longer text or a smaller length"
        )
    end = count * length
    return codes[:end].reshape(count, length), codes[1 : end + 1].reshape(count, length)


def tail_cut(text: str, fraction: float) -> tuple[str, str]:
    """A text cut in two behind white space, with about `fraction` of it in the second part."""
    place = round(len(text) * (1 - fraction))
    while 0 < place < len(text) and not text[place - 1].isspace():
        place += 1
    return text[:place], text[place:]


def encoded(tokenizer: Tokenizer, text: str) -> Codes:
    """The tokens of a text, `(tokens,)`; read line by line, since each call takes much memory."""
    return np.concatenate([*tokenizer.encode(text.splitlines(keepends=True))])
