"""Tokenizers: how a text becomes whole numbers. Number 0 is padding in each of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from nas.tasks.task import TaskError

if TYPE_CHECKING:
    import tokenizers

TOKENS = "tokens"
PADDING = 0
Codes = NDArray[np.int64]


class Tokenizer(Protocol):
    """A function from a text to tokens."""

    @property
    def vocabulary(self) -> int:
        """The number of different tokens, which are 0 to `vocabulary - 1`."""
        ...

    def encode(self, texts: Iterable[str]) -> Iterator[Codes]:
        """The tokens of each text, `(tokens,)`; never the padding."""
        ...

    def stated(self) -> dict[str, JsonValue]:
        """The tokenizer as JSON values, with which texts become inputs of an exported network."""
        ...


@dataclass(frozen=True)
class Bytes:
    """The tokenizer whose tokens are the bytes of a text in UTF-8.

    The padding is the NUL byte, which no text has.
    """

    vocabulary: int = 256

    def encode(self, texts: Iterable[str]) -> Iterator[Codes]:
        """The bytes of each text."""
        return (np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64) for text in texts)

    def stated(self) -> dict[str, JsonValue]:
        """The rule in words."""
        return {"tokens": "the bytes of the text in UTF-8", "padding": PADDING}


@dataclass(frozen=True)
class Words:
    """A tokenizer of words, kept and run by Hugging Face's `tokenizers`."""

    held: tokenizers.Tokenizer

    @property
    def vocabulary(self) -> int:
        """The number of known words, with one token for padding and one for all other words."""
        return self.held.get_vocab_size()

    def encode(self, texts: Iterable[str]) -> Iterator[Codes]:
        """The words of each text; a word that is not known is the token `<unk>`."""
        return (np.array(self.held.encode(text).ids, dtype=np.int64) for text in texts)

    def stated(self) -> dict[str, JsonValue]:
        """The content of `tokenizer.json`, whose text `tokenizers.Tokenizer.from_str` reads."""
        return json.loads(self.held.to_str())


class ByteSection(BaseModel):
    """The section of a tokenizer of bytes; nothing is learned."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["byte"] = "byte"

    def learned(self, texts: Iterable[str]) -> Tokenizer:
        """The tokenizer; `texts` are not read."""
        return Bytes()


class WordSection(BaseModel):
    """The section of a tokenizer of the most frequent words of the training texts.

    A text is divided at white space and between letters and punctuation.

    Attributes:
        vocabulary: The largest number of tokens: words, padding, and one for all unknown words.
        lowercase: Whether upper and lower case are the same.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["word"] = "word"
    vocabulary: Annotated[int, Field(ge=3, le=1 << 20)] = 8000
    lowercase: bool = True

    def learned(self, texts: Iterable[str]) -> Tokenizer:
        """The tokenizer of the words in `texts`; equal texts give equal tokenizers.

        Raises:
            TaskError: If `tokenizers` is not installed.
        """
        try:
            from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
        except ImportError as error:
            raise TaskError(
                "words need the library tokenizers; run: pip install 'elastic-nas[text]', or take "
                'tokenizer = { kind = "byte" }'
            ) from error
        # The trainer of words breaks ties by the word, so it is the same every time; the trainer
        # of word pieces is not (huggingface/tokenizers, issue 1794).
        made = Tokenizer(models.WordLevel(unk_token="<unk>"))
        steps = [normalizers.NFC(), *([normalizers.Lowercase()] if self.lowercase else [])]
        made.normalizer = normalizers.Sequence(steps)
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(
            vocab_size=self.vocabulary, special_tokens=["<pad>", "<unk>"], show_progress=False
        )
        made.train_from_iterator(texts, trainer)
        return Words(made)


TokenizerSection = Annotated[ByteSection | WordSection, Field(discriminator="kind")]
