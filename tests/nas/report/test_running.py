import ast
import re
from dataclasses import replace

import pytest

from nas.facts.usage import Port, Scaling, Usage
from nas.report.html import html
from nas.report.running import using_files
from nas.report.subnets import Chosen, ExportedFile
from search_spaces.ops import Input
from tests.nas.report.two import FAST, device, of

IMAGE = Port("Pixels.", ("channel", "height", "width"), Scaling((5.0,), (6.0,)), (0.0,), (16.0,))
CLASSES = Port("A logit per class.", ("class",), names=("cat", "dog", "eel", "fox", "gnu"))


USAGE = Usage({"image": IMAGE}, CLASSES)


def stated(usage: Usage = USAGE):
    return usage.stated([Input("image", (1, 8, 8))], (5,))


def results(*forms: str, **changed):
    target = device("d", 1, FAST)
    files = tuple(ExportedFile(form, f"d.{form}") for form in forms)
    made: Chosen = replace(target.chosen, files=files)
    return replace(of(replace(target, chosen=made)), **{"usage": stated(), **changed})


def program(page: str) -> str:
    return re.search(r"<pre>(.*?)</pre>", page, re.DOTALL)[1].replace("&#x27;", "'")


def test_what_goes_in_and_comes_out_is_told():
    page = html(results("onnx"))
    for told in (
        "(batch, channel 1, height 8, width 8), float32. Pixels.",
        "(raw - mean) / std with mean 5.000 and std 6.000; raw numbers were 0 to 16 in training",
        "In order: cat, dog, eel, fox ... (5 in all).",
        "python predict.py d.onnx samples.npy",
    ):
        assert told in page


def test_a_file_that_scales_by_itself_is_fed_raw_numbers():
    folded = replace(results("onnx"), usage=stated(Usage({"image": IMAGE}, CLASSES).raw()))
    page = using_files(folded)
    assert "mean" not in page
    assert program(page).startswith("image = raw.astype('float32')")


@pytest.mark.parametrize("form", ["onnx", "torch", "torch-export", "openvino", "executorch"])
def test_every_shipped_form_has_its_call(form):
    lines = program(using_files(results(form))).splitlines()
    assert len(lines) == 2
    for line in lines:
        ast.parse(line)
    assert f"d.{form}" in lines[1]


def test_a_form_of_a_users_own_has_none():
    assert len(program(using_files(results("mine"))).splitlines()) == 1


@pytest.mark.parametrize("changed", [{"usage": {}}, {"targets": ()}])
def test_nothing_is_told_without_files_or_without_a_word_on_their_use(changed):
    assert using_files(results("onnx", **changed)) == ""
    assert using_files(results()) == ""
