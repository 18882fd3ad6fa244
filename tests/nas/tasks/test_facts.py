"""What was read is told, whatever the source; a digest is of the content alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nas.facts.data_facts import DataFacts, SplitFacts, ValueFacts
from nas.facts.usage import Port, Usage
from nas.report.data_read import data_read, data_section
from nas.tasks import ArraysTask
from nas.tasks.criteria import Classification
from nas.tasks.facts import digest, facts_of_task
from nas.tasks.source import Samples
from nas.tasks.task import Split, Task, TrainSplit
from nas.terminal.display import TerminalTable
from search_spaces.ops import Input


@pytest.fixture
def facts(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 201, (60, 4, 4), dtype=np.uint8), np.arange(60) % 3
    x[0, 0, 0], x[1, 0, 0] = 0, 200
    np.savez(tmp_path / "made.npz", x_train=x, y_train=y, x_test=x[:6], y_test=y[:6])
    return facts_of_task(ArraysTask(path=tmp_path / "made.npz", limit=30).load())


def test_splits_classes_and_ranges_are_told(facts):
    assert {name: split.samples for name, split in facts.splits.items()} == {
        "train": 30,
        "validation": 15,
        "test": 6,
    }
    assert facts.splits["train"].classes == {"0": 10, "1": 10, "2": 10}
    assert facts.splits["validation"].origin == "drawn from train (25%)"
    told = facts.splits["test"].inputs["image"]
    assert (told.shape, told.dtype) == ((1, 4, 4), "uint8")


def test_the_terminal_and_the_report_say_the_same(facts):
    table, sentences = data_read(facts)
    assert isinstance(table, TerminalTable)
    assert isinstance(sentences, str)
    assert table.rows[0] == ("train", "30", "x_train, y_train", "0: 10, 1: 10, 2: 10")
    assert "image: uint8 of shape 1 x 4 x 4 from 0 to 200" in sentences
    page = data_section(facts)
    for part in ("0: 10, 1: 10, 2: 10", "uint8 of shape 1 x 4 x 4", 'id="data"'):
        assert part in page
    assert data_section(None) == ""


def test_of_many_classes_the_counts_are_told_and_not_the_names():
    split = SplitFacts(29, "0a", classes={str(n): 2 if n else 1 for n in range(15)})
    even = SplitFacts(30, "0b", classes={str(n): 2 for n in range(15)})
    table, _ = data_read(DataFacts("many", "", {"train": split, "validation": even}))
    assert isinstance(table, TerminalTable)
    assert [row[-1] for row in table.rows] == ["15 names, 1 to 2 of each", "15 names, 2 of each"]


def test_a_task_without_a_source_is_told_by_its_tensors():
    split = Split({"row": torch.arange(12.0).reshape(6, 2)}, torch.arange(6) % 2)
    train = TrainSplit(split.inputs, split.targets)
    usage = Usage({"row": Port("Numbers.", ("number",))}, Port("A logit per class.", ("class",)))
    task = Task("own", (Input("row", (2,)),), (2,), Classification(), train, split, split, usage)
    told = facts_of_task(task).splits["train"]
    assert told.inputs["row"] == ValueFacts((2,), "float32", 0.0, 11.0)
    assert told.targets == ValueFacts((), "int64", 0.0, 1.0)  # names of classes are not known


def test_a_digest_changes_with_any_content_and_with_nothing_else():
    images, labels = np.arange(24.0).reshape(6, 4), np.arange(6) % 2
    samples = Samples({"x": images}, labels)
    same = Samples({"x": np.asfortranarray(images)}, labels.copy())
    assert digest(samples) == digest(same)
    touched = images.copy()
    touched[5, 3] += 1e-9
    others = [
        Samples({"x": touched}, labels),
        Samples({"x": images}, labels[::-1]),
        Samples({"x": images.astype(np.float32)}, labels),
        Samples({"x": images.reshape(6, 2, 2)}, labels),
        Samples({"y": images}, labels),
        samples.at(slice(5)),
    ]
    assert len({digest(samples), *map(digest, others)}) == 1 + len(others)


def test_a_digest_of_texts_knows_where_each_ends():
    def texts(*content: str) -> str:
        return digest(Samples({"text": np.array(content, dtype=object)}, np.zeros(2)))

    assert texts("ab", "c") == texts("ab", "c") != texts("a", "bc")
