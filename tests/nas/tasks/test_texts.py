"""Text files are read as they stand, and what cannot be read is refused with a sentence."""

import gzip
import json

import numpy as np
import pytest

from nas.tasks.task import TaskError
from nas.tasks.text_files import read_columns, read_text
from nas.tasks.tokens import PADDING, ByteSection, WordSection


def test_a_text_is_the_same_with_and_without_compression(tmp_path):
    (tmp_path / "plain.txt").write_text("Grüße\n", encoding="utf-8-sig")
    (tmp_path / "small.txt.gz").write_bytes(gzip.compress("Grüße\n".encode()))
    assert read_text(tmp_path / "plain.txt") == read_text(tmp_path / "small.txt.gz") == "Grüße\n"


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("cut.txt.gz", gzip.compress(b"text" * 500)[:-9], "cannot be read"),
        ("bent.txt.gz", b"\x1f\x8b\x08" + bytes(30), "cannot be read"),
        ("plain.txt.gz", b"not compressed", "cannot be read"),
        ("latin.txt", "Gr\xfc\xdfe".encode("latin-1"), "not UTF-8: byte 2, in line 1, is 0xfc"),
        ("data.txt", b"a\0b", "NUL character at position 1"),
        ("empty.txt", b"", "holds no text"),
        ("blank.txt", b" \n\n", "holds no text"),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value,  # gzip writes the time of day
)
def test_what_is_no_text_is_refused(tmp_path, name, content, fault):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError, match=rf"{name} .*{fault}"):
        read_text(tmp_path / name)


def test_a_missing_file_and_one_that_needs_too_much_memory_are_refused(tmp_path, monkeypatch):
    with pytest.raises(TaskError, match="there is no file"):
        read_text(tmp_path / "none.txt")
    monkeypatch.setattr("nas.memory.memory_limit", lambda: 1 << 24)
    bomb = tmp_path / "bomb.txt.gz"
    bomb.write_bytes(gzip.compress(b"a" * (1 << 23)))
    with pytest.raises(TaskError, match=r"of memory.*give a shorter text"):
        read_text(bomb)


def test_columns_are_picked_by_name(tmp_path):
    (tmp_path / "t.tsv").write_text('label\tsentence\n1\tsays "so\n\n0\tno , good\n')
    (tmp_path / "t.csv").write_text('sentence,label\n"one, ""two""\nlines",1\n')
    assert read_columns(tmp_path / "t.tsv", ("sentence", "label")) == [
        ('says "so', "1"),
        ("no , good", "0"),
    ]
    assert read_columns(tmp_path / "t.csv", ("label", "sentence")) == [("1", 'one, "two"\nlines')]


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("t.txt", "text,label\na,1\n", "neither a table"),
        ("t.tsv", "sentence\tlabel\na\t1\n", "no columns 'text', given .*'sentence', 'label'"),
        ("t.csv", "text,text,label\na,b,1\n", "2 columns 'text'"),
        ("t.csv", "text,label\na,1,2\n", "line 2 .* has 3 values"),
        ("t.csv", "text,label\na,1\nb,\n", "line 3 .* no value in the column 'label'"),
        ("t.tsv", "text\tlabel\n \t1\n", "line 2 .* no value in the column 'text'"),
        ("t.csv", "text,label\n", "no row"),
        ("t.csv", 'text,label\n"open,1\n', "line 2 .* no row of a table"),
    ],
)
def test_what_is_no_table_of_texts_is_refused(tmp_path, name, content, fault):
    (tmp_path / name).write_text(content)
    with pytest.raises(TaskError, match=fault):
        read_columns(tmp_path / name, ("text", "label"))


def test_bytes_are_tokens():
    made = ByteSection().learned([])
    assert [codes.tolist() for codes in made.encode(["aé", ""])] == [[97, 195, 169], []]
    assert made.vocabulary == 256
    assert made.stated()["padding"] == PADDING


class TestWords:
    TEXTS = ("The cat, the Dog", "the end of a cat", "zebra apple")

    def test_frequent_words_come_first_and_others_are_unknown(self):
        made = WordSection(vocabulary=5).learned(self.TEXTS)
        assert made.vocabulary == 5
        first, second = made.encode(["THE cat", "dragon , the"])
        assert first.tolist() == [2, 3]  # after padding and unknown
        assert second.tolist() == [1, 4, 2]  # ties are in the order of letters
        assert PADDING not in np.concatenate([first, second])

    def test_case_can_matter(self):
        made = WordSection(lowercase=False).learned(self.TEXTS)
        upper, lower = made.encode(["Dog", "dog"])
        assert upper.tolist() != lower.tolist() == [1]

    def test_equal_texts_give_equal_tokenizers_which_their_text_gives_back(self):
        from tokenizers import Tokenizer

        made = {
            json.dumps(WordSection(vocabulary=8).learned(self.TEXTS).stated()) for _ in range(20)
        }
        assert len(made) == 1
        again = Tokenizer.from_str(made.pop())
        assert again.encode("the zebra").ids == [2, 1]
