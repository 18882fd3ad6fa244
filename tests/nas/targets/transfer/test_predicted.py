"""A predicted target: written as a folder, measured, and then a target like any other."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nas.profiling.transfer_folder import MEASURED, NETWORKS, write_transfer
from nas.targets import HardwareTarget, TargetError, load_target
from nas.targets.coverage import findings
from nas.targets.transfer.predicted import networks_text, read_networks
from nas.testing.target import TargetContract
from predictors.rank import kendall_tau
from search_spaces.costs import total
from search_spaces.documents import UnreadableFile
from search_spaces.mobilenet import Stage, mobilenet
from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from search_spaces.space import IntArray, SearchSpace

CHAINS = load_target("edge-npu").fusion
CONSTANT_MS = 0.03


@pytest.fixture(scope="module")
def family() -> SearchSpace:
    return residual(
        inputs=(Input("image", (3, 16, 16)),),
        output=(10,),
        widths=((8, 16), (16, 32), (32, 64)),
        depths=((1, 2, 3), (1, 2, 3)),
        kernels=(3, 5),
        policy=Policy(weight_bits=(8,), activation_bits=(8,)),
    )


def alike(folder: Path, name: str, *, gmacs: float, bandwidth: float) -> str:
    """A target file with other figures than the edge NPU's and the same operators."""
    text = (Path("nas/targets/devices") / "edge-npu.toml").read_text()
    text = text.replace('"8x8" = 6.4', f'"8x8" = {gmacs}').replace(
        'name = "edge-npu"', f'name = "{name}"'
    )
    (folder / f"{name}.toml").write_text(
        text.replace("bandwidth_gb_per_s = 0.8", f"bandwidth_gb_per_s = {bandwidth}")
    )
    return str(folder / f"{name}.toml")


def truth(known: list[HardwareTarget], space: SearchSpace, rows: IntArray) -> np.ndarray:
    """What the new device takes: a mixture of the known ones, and a constant."""
    compiled = [target.compile(space)["latency_ms"](rows) for target in known]
    return 0.3 * compiled[0] + 0.9 * compiled[1] + CONSTANT_MS


def fill_in(file: Path, latency_ms: np.ndarray) -> None:
    with file.open() as opened:
        lines = list(csv.DictReader(opened))
    for line, latency in zip(lines, latency_ms, strict=True):
        line["latency_ms"] = repr(float(latency))
    with file.open("w", newline="") as opened:
        sheet = csv.DictWriter(opened, list(lines[0]))
        sheet.writeheader()
        sheet.writerows(lines)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("known")
    second = alike(folder, "second", gmacs=1.0, bandwidth=3.0)
    return ["edge-npu", second]


@pytest.fixture(scope="module")
def measured(family, known, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose latencies are filled in."""
    path = write_transfer(
        tmp_path_factory.mktemp("transfers") / "new-phone", space=family, known=known, count=10
    )
    assert len((path.parent / MEASURED).read_text().splitlines()) == 11
    fill_in(path.parent / MEASURED, np.arange(1.0, 11.0))
    networks, _ = read_networks(path.parent / MEASURED, family)
    fill_in(path.parent / MEASURED, truth([*map(load_target, known)], family, np.array(networks)))
    return path


class TestPredicted(TargetContract):
    @pytest.fixture
    def target(self, measured: Path) -> HardwareTarget:
        return load_target(measured)


def test_it_predicts_what_the_new_device_takes(measured, known, family) -> None:
    target = load_target(measured)
    rows = family.sample_array(np.random.default_rng(0), 300)
    predicted = target.compile(family)["latency_ms"](rows)
    right = truth([*map(load_target, known)], family, rows)
    assert np.median(np.abs(predicted / right - 1)) < 0.01
    assert kendall_tau(predicted, right) > 0.97


def test_every_network_pays_the_constant_on_top_of_its_kernels(measured, family) -> None:
    target = load_target(measured)
    genotype = family.sample(np.random.default_rng(1))
    compiled = target.compile(family)["latency_ms"](np.array([genotype]))[0]
    summed = total(target.kernel_cost, family.decode(genotype), target.fusion)
    assert compiled == pytest.approx(summed + target.rules.overhead_ms)
    assert target.costs(family.decode(genotype))["latency_ms"] == pytest.approx(compiled)


def test_it_says_what_it_is(measured) -> None:
    target = load_target(measured)
    assert target.provenance == "predicted"
    assert "predicted from edge-npu, second and 10 measured networks" in target.source


def test_it_serves_a_narrower_space(measured, family) -> None:
    narrower = family.restrict(lambda choice, option: "kernel" not in choice.name or option == 3)
    rows = narrower.sample_array(np.random.default_rng(0), 20)
    same = np.array([family.genotype(narrower.describe(row)) for row in rows.tolist()])
    target = load_target(measured)
    np.testing.assert_allclose(
        target.compile(narrower)["latency_ms"](rows), target.compile(family)["latency_ms"](same)
    )


def test_operators_that_were_not_fitted_are_named(measured) -> None:
    other = mobilenet(
        inputs=(Input("image", (3, 16, 16)),),
        output=(10,),
        stages=[Stage(16, 2)],
        depths=(1,),
        kernels=(3,),
    )
    with pytest.raises(TargetError, match="no measured network runs DepthwiseConv2d"):
        load_target(measured).compile(other)


def test_the_networks_are_there_to_be_timed(measured) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    files = sorted((measured.parent / NETWORKS).glob("*.onnx"))
    assert len(files) == 10
    session = onnxruntime.InferenceSession(files[0])
    (logits,) = session.run(None, {"image": np.zeros((1, 3, 16, 16), np.float32)})
    assert logits.shape == (1, 10)


def test_a_folder_is_written_once(measured, family, known) -> None:
    with pytest.raises(TargetError, match="holds a transfer already"):
        write_transfer(measured.parent, space=family, known=known, count=10)


def test_networks_are_read_as_they_were_written(family, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    networks = [family.sample(rng) for _ in range(5)]
    (tmp_path / "n.csv").write_text(networks_text(family, networks, [1.0, 2.5, 3.0, 4.0, 5.0]))
    assert read_networks(tmp_path / "n.csv", family) == (networks, [1.0, 2.5, 3.0, 4.0, 5.0])


Edit = Callable[[list[str]], list[str]]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: [*lines[:3], lines[3].rsplit(",", 1)[0] + ","], "line 4.*fill it in"),
        (lambda lines: [*lines[:3], lines[3].rsplit(",", 1)[0] + ",-2"], "line 4.*positive"),
        (lambda lines: [*lines[:3], lines[3].rsplit(",", 1)[0] + ",nan"], "line 4.*positive"),
        (lambda lines: [*lines[:3], lines[3].rsplit(",", 1)[0] + ",fast"], "line 4.*fast"),
        (
            lambda lines: [lines[0], "7" + lines[1][lines[1].index(",") :]],
            "line 2.*has the options",
        ),
        (lambda lines: [lines[0].replace("width", "girth"), *lines[1:]], "line 2.*no choices"),
        (lambda lines: [lines[0], lines[1] + ",3"], "line 2"),
        (lambda lines: lines[:3], "at least 3"),
        (lambda lines: lines[:1], "has no lines"),
    ],
)
def test_measurements_that_cannot_be_right_are_refused(
    measured: Path, tmp_path: Path, edit: Edit, message: str
) -> None:
    for file in ("space.json", measured.name):
        (tmp_path / file).write_text((measured.parent / file).read_text())
    text = (tmp_path / measured.name).read_text().splitlines()
    known = [line for line in text if ".toml" in line]
    away = (measured.parent / known[0].strip().strip('",')).resolve()
    moved = [f'    "{away}",' if line == known[0] else line for line in text]
    (tmp_path / measured.name).write_text("\n".join(moved))
    lines = (measured.parent / MEASURED).read_text().splitlines()
    (tmp_path / MEASURED).write_text("\n".join(edit(lines)) + "\n")
    with pytest.raises(TargetError, match=message):
        load_target(tmp_path / measured.name)


@pytest.fixture
def copied(measured: Path, known, tmp_path: Path) -> Path:
    """A copy of the folder whose latencies are filled in."""
    shutil.copytree(measured.parent, tmp_path / "copy", ignore=lambda *_: [NETWORKS])
    text = measured.read_text()
    (line,) = [line for line in text.splitlines() if "second.toml" in line]
    path = tmp_path / "copy" / measured.name
    path.write_text(text.replace(line, f'    "{known[1]}",'))
    return path


def remeasured(path: Path, change: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    """What is told about a target after a change of its measured latencies."""
    file = path.parent / MEASURED
    with file.open() as opened:
        latencies = np.array([float(line["latency_ms"]) for line in csv.DictReader(opened)])
    fill_in(file, change(latencies))
    return findings(load_target(path))


def test_one_stalled_measurement_of_ten_is_told_by_its_number(copied) -> None:
    assert remeasured(copied, lambda ms: ms) == []
    (said,) = remeasured(copied, lambda ms: np.where(np.arange(10) == 3, 100 * ms, ms))
    assert said.startswith("measured network 4 took ")
    assert "was the run disturbed? measure it again" in said


def test_measurements_in_another_unit_are_told(copied) -> None:
    (said,) = remeasured(copied, lambda ms: 1000 * ms)
    assert said.endswith("the nearest known device; are they milliseconds?")


def test_measurements_are_read_as_a_spreadsheet_saves_them(copied) -> None:
    file = copied.parent / MEASURED
    before = load_target(copied).source
    rows = list(csv.reader(file.read_text().splitlines()))
    for sign, decimal in ((",", "."), (";", ","), ("\t", ",")):
        text = io.StringIO()
        sheet = csv.writer(text, delimiter=sign, lineterminator="\r\n")
        sheet.writerows([*row[:-1], row[-1].replace(".", decimal)] for row in rows)
        file.write_bytes(("\ufeff" + text.getvalue() + sign * (len(rows[0]) - 1)).encode())
        assert load_target(copied).source == before


def test_a_file_of_measurements_that_is_not_there_is_named(copied) -> None:
    (copied.parent / MEASURED).rename(copied.parent / "Measured.csv")
    with pytest.raises(TargetError, match=r"no file .*measured\.csv; beside it lies 'Meas"):
        load_target(copied)


def test_known_targets_must_fuse_alike(measured, known, tmp_path: Path) -> None:
    text = measured.read_text()
    start = text.index("fusion = [")
    text = text[:start] + text[text.index("\n]\n", start) + 3 :]
    other = measured.with_name("unfused.toml")
    other.write_text(text)
    with pytest.raises(TargetError, match="fuses other kernels"):
        load_target(other)


def test_a_target_cannot_follow_from_itself(measured) -> None:
    own = measured.with_name("own.toml")
    own.write_text(measured.read_text().replace('"edge-npu"', '"own.toml"'))
    with pytest.raises(TargetError, match="predicted itself"):
        load_target(own)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('provenance = "predicted"', 'provenance = "measured"', "transfer section"),
        ('space = "space.json"', 'space = "../space.json"', "without '..'"),
        ('source = ""', 'source = ""\nbranches = "max"', "leave out branches"),
        ('space = "space.json"', 'space = "absent.json"', "absent.json"),
    ],
)
def test_files_that_contradict_themselves_are_refused(measured, old, new, message) -> None:
    text = measured.read_text()
    assert old in text
    wrong = measured.with_name("wrong.toml")
    wrong.write_text(text.replace(old, new))
    with pytest.raises((TargetError, UnreadableFile), match=message):
        load_target(wrong)
