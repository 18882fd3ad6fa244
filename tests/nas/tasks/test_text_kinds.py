"""Tasks on text: classes of texts, and the next token of a text."""

import gzip

import numpy as np
import pytest
import torch

from nas.tasks.next_token import NextTokenTask, tail_cut, windows
from nas.tasks.task import TaskError
from nas.tasks.text_classification import TextClassificationTask
from nas.testing.task import ClassesTaskContract, TaskContract

WORDS = ("good", "bad", "film", "plot", "dull", "fine", "slow", "grand")


def texts(count, *, seed=0, words=6):
    picks = np.random.default_rng(seed).integers(0, len(WORDS), size=(count, words))
    return [f"{' '.join(WORDS[w] for w in row)} {number}" for number, row in enumerate(picks)]


def write_table(path, rows, header="sentence\tlabel"):
    path.write_text("\n".join([header, *(f"{text}\t{label}" for text, label in rows)]) + "\n")
    return path


def table(folder, count=120, **options):
    rows = [(text, number % 2) for number, text in enumerate(texts(count))]
    path = write_table(folder / "reviews.tsv", rows)
    return TextClassificationTask(train=path, text="sentence", **options)


class TestTextsAsBytes(ClassesTaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        return table(tmp_path, length=48)

    def test_bytes_are_cut_and_padded(self, tmp_path):
        rows = [("abcdef", "x"), ("ab", "y"), ("abc", "x"), ("b", "y")] * 5
        path = write_table(tmp_path / "t.tsv", rows)
        task = TextClassificationTask(train=path, text="sentence", length=4).load()
        found = {tuple(row.tolist()) for row in task.train.inputs["tokens"]}
        assert found == {(97, 98, 99, 100), (97, 98, 0, 0), (97, 98, 99, 0), (98, 0, 0, 0)}
        assert task.usage.output.names == ("x", "y")


class TestTextsAsWords(ClassesTaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        return table(tmp_path, length=8, tokenizer={"kind": "word"})

    def test_files_tell_the_vocabulary_of_the_training_split(self, task):
        vocabulary = task.usage.inputs["tokens"].tokenizer["model"]["vocab"]
        assert {*WORDS} < {*vocabulary}
        assert len(vocabulary) == 2 + len(WORDS) + task.sizes()["train"]  # each has its number
        held_out = next(iter(task.test_batches(100)))[0]["tokens"]
        assert (held_out[:, 6] == vocabulary["<unk>"]).all()


class TestNextByte(TaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        path = tmp_path / "book.txt.gz"
        path.write_bytes(gzip.compress("\n".join(texts(200)).encode()))
        return NextTokenTask(train=path, length=20)

    def test_targets_are_the_inputs_one_place_later(self, task):
        tokens, targets = task.train.inputs["tokens"], task.train.targets
        assert torch.equal(tokens[:, 1:], targets[:, :-1])
        assert task.output == (20, 256)


class TestNextWord(TaskContract):
    @pytest.fixture
    def section(self, tmp_path):
        (tmp_path / "book.txt").write_text("\n".join(texts(300)))
        (tmp_path / "later.txt").write_text("\n".join(texts(60, seed=1)))
        return NextTokenTask(
            train=tmp_path / "book.txt",
            test=tmp_path / "later.txt",
            length=10,
            tokenizer={"kind": "word", "vocabulary": 40},
        )

    def test_the_output_has_one_place_for_each_known_word(self, task):
        assert task.output == (10, 40)
        assert task.train.targets.max() < 40


def test_the_end_of_a_text_is_cut_behind_white_space():
    text = "".join(f"{number}\n" for number in range(400))
    first, last = tail_cut(text, 0.25)
    assert first + last == text
    assert first.endswith("\n")
    assert abs(len(last) / len(text) - 0.25) < 0.01
    assert tail_cut("nowhere", 0.25) == ("nowhere", "")


def test_windows_follow_one_another():
    inputs, targets = windows("text", np.arange(11), 3)
    assert inputs.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert targets.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]


@pytest.mark.parametrize(
    ("rows", "options", "fault"),
    [
        ([(t, "same") for t in texts(40)], {}, "one class only, same"),
        ([(t, n % 2) for n, t in enumerate(texts(3))], {}, "fewer than 3 samples.*: 0 .2., 1 .1.;"),
        ([(t, n) for n, t in enumerate(texts(40))], {}, "fewer than 3 samples.* and 30 more"),
        ([(t, n % 2) for n, t in enumerate(texts(40))], {"label": "stars"}, "no columns 'stars'"),
    ],
)
def test_tables_that_make_no_task_are_refused(tmp_path, rows, options, fault):
    path = write_table(tmp_path / "t.tsv", rows)
    with pytest.raises(TaskError, match=fault):
        TextClassificationTask(train=path, text="sentence", **options).load()


def test_a_class_that_training_lacks_is_refused(tmp_path):
    test = write_table(tmp_path / "test.tsv", [("a text", 7)])
    with pytest.raises(TaskError, match="the class 7, of which there is no training sample"):
        table(tmp_path).model_copy(update={"test": test}).load()


def test_texts_beyond_memory_are_refused(tmp_path, monkeypatch):
    section = table(tmp_path, length=1 << 20)
    monkeypatch.setattr("nas.memory.memory_limit", lambda: 1 << 28)
    with pytest.raises(TaskError, match="give fewer texts or a smaller length"):
        section.load()


def test_a_text_shorter_than_a_window_is_refused(tmp_path):
    (tmp_path / "t.txt").write_text("a few words in a line of text")
    section = NextTokenTask(train=tmp_path / "t.txt", length=16)
    with pytest.raises(TaskError, match=r"the test split .*has \d tokens.*length \+ 1 = 17"):
        section.load()
