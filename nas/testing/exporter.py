"""The contract of an exporter, which writes and opens one form of exported network."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from nas.export import FORMS, Exporter, ExportError, bytes_of, verify
from nas.export.stand_in import stand_in
from nas.export.statement import policy_json
from nas.files.durable import WriteError
from nas.tasks.criteria import Classification, Regression
from nas.testing.networks import (
    FAMILIES,
    IMAGES,
    network,
    space,
    uniform,
    uniform_network,
)
from nas.testing.traced import traced_network
from search_spaces.graph import Graph
from supernets.deployed import Deployed

METADATA = {
    "run": "contract",
    "genotype": "1,2,3",
    "space": "0" * 16,
    "output": json.dumps({"names": ['a "cat"', "<pears> & Äpfel"]}, ensure_ascii=False),
}
SHOWN = IMAGES[:64]
ALONE = """
import sys

class Closed:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"nas", "search_spaces", "supernets", "predictors"}:
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, Closed())
import numpy as np
path, inputs, outputs = sys.argv[1:]
inputs = np.load(inputs)
"""


@dataclass(frozen=True, eq=False)
class Case:
    """A network with every precision in some layer, and the file to which it was exported."""

    graph: Graph
    deployed: Deployed
    path: Path
    folder: TemporaryDirectory[str]

    def ours(self) -> np.ndarray:
        """The outputs of the network itself, before any export."""
        with torch.no_grad():
            return self.deployed.module()(SHOWN).numpy()


@cache
def exported(form: str, family: str) -> Case:
    """The exported case of a family, made once for all tests, since some forms take seconds."""
    made = space(family)
    sampled = made.sample_array(np.random.default_rng(4), 64).tolist()
    genotype = tuple(min(sampled, key=lambda row: len(made.decode(tuple(row)).nodes)))
    deployed = replace(network(family, genotype), metadata=METADATA)
    folder = TemporaryDirectory()
    path = Path(folder.name) / f"net{FORMS[form].suffix}"
    FORMS[form].write(deployed, path)
    return Case(made.decode(genotype), deployed, path, folder)


class ExporterContract:
    """The tests of an exporter, which a subclass gives as the fixture `exporter`.

    Attributes:
        tolerance: The largest difference of outputs, as a share of their standard deviation, for
            samples without a tie in rounding.
        agreement: The least percentage of equal answers. The networks are untrained, so many of
            their answers are close calls.
        size_error: The largest relative error of the foretold size.
        alone: Python code that runs the file at `path` without the engine: it reads the array
            `inputs` and assigns the array `found`.
        alone_family: The family whose network `alone` runs.
    """

    tolerance = 0.0
    agreement = 98.0
    size_error = 0.03
    alone = ""
    alone_family = "mobilenet"

    @pytest.fixture(params=FAMILIES)
    def case(self, exporter: Exporter, request: pytest.FixtureRequest) -> Case:
        return exported(exporter.name, request.param)

    @pytest.fixture
    def copied(self, exporter: Exporter, tmp_path: Path) -> Case:
        """A copy of one case that a test may damage; files of all families are written alike."""
        case = exported(exporter.name, FAMILIES[0])
        copy = shutil.copytree if case.path.is_dir() else shutil.copy
        return replace(case, path=Path(copy(case.path, tmp_path / case.path.name)))

    def test_the_file_answers_as_the_network_does(self, case: Case) -> None:
        answers = torch.from_numpy(case.ours().argmax(1))
        found = verify(case.path, case.deployed, SHOWN, answers, criterion=Classification())
        assert (found.samples, found.network_error) == (len(SHOWN), 0.0)
        assert found.agreement is not None
        assert 100 - found.file_error == pytest.approx(found.agreement)
        assert found.agreement >= self.agreement

    def test_outputs_are_equal_but_for_ties(self, exporter: Exporter, case: Case) -> None:
        ours = case.ours()
        found = exporter.open(case.path, case.graph).run({"image": SHOWN})
        difference = np.abs(found - ours).max(1)
        assert np.median(difference) <= self.tolerance * ours.std()
        assert np.mean(difference <= self.tolerance * ours.std()) >= 0.9

    def test_all_outputs_of_a_traced_network_are_equal(
        self, exporter: Exporter, tmp_path: Path
    ) -> None:
        network, given = traced_network()
        path = tmp_path / f"net{exporter.suffix}"
        exporter.write(network, path)
        targets = torch.zeros(len(given["left"]), network.graph.shapes()[network.graph.output][0])
        found = verify(path, network, given, targets, criterion=Regression(), batch_size=3)
        assert found.largest_difference <= max(self.tolerance, 1e-5)
        assert len(network.graph.results) > 1

    def test_any_batch_is_read(self, exporter: Exporter, case: Case) -> None:
        run = exporter.open(case.path, case.graph).run
        whole = run({"image": SHOWN})
        parts = np.concatenate(
            [run({"image": SHOWN[:1]}), run({"image": SHOWN[1:4]}), run({"image": SHOWN[4:]})]
        )
        assert np.mean(np.abs(parts - whole).max(1) <= 1e-4 * whole.std()) >= 0.9

    def test_the_file_holds_its_policy(self, exporter: Exporter, case: Case) -> None:
        held = exporter.open(case.path, case.graph).policy
        for address, node in case.deployed.graph.nodes.items():
            quant = node.op.weight
            if quant is not None:
                found = held[address].weight
                assert found is not None
                assert (found.bits, found.symmetric) == (quant.bits, quant.integers.symmetric), (
                    address
                )
                assert found.container == exporter.container(quant)

    def test_another_policy_is_detected(self, case: Case) -> None:
        other = uniform_network("residual", uniform(3))
        with pytest.raises(ExportError):
            verify(case.path, other, SHOWN, torch.zeros(len(SHOWN)), criterion=Classification())

    def test_bytes_are_foretold(self, exporter: Exporter, case: Case) -> None:
        foretold = exporter.foretold_bytes(replace(stand_in(case.graph), metadata=METADATA))
        assert foretold == pytest.approx(bytes_of(case.path), rel=self.size_error)

    def test_the_file_says_what_it_is(self, exporter: Exporter, case: Case) -> None:
        metadata = exporter.open(case.path, case.graph).metadata
        assert {key: metadata[key] for key in METADATA} == METADATA
        assert json.loads(metadata["policy"]) == json.loads(policy_json(case.deployed.graph))

    def test_it_is_written_over_its_former_self(self, exporter: Exporter, copied: Case) -> None:
        before = bytes_of(copied.path)
        exporter.write(copied.deployed, copied.path)
        assert bytes_of(copied.path) == pytest.approx(before, rel=0.01)  # names may be counted up
        assert [part.name for part in copied.path.parent.iterdir()] == [copied.path.name]

    def test_a_missing_folder_is_named(
        self, exporter: Exporter, case: Case, tmp_path: Path
    ) -> None:
        with pytest.raises(WriteError, match="create the folder first"):
            exporter.write(case.deployed, tmp_path / "no" / "net")
        assert list(tmp_path.iterdir()) == []

    def test_a_full_disk_leaves_what_was_there(
        self, exporter: Exporter, copied: Case, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = bytes_of(copied.path)

        def full(_: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(WriteError, match="free some space"):
                exporter.write(copied.deployed, copied.path)
        assert bytes_of(copied.path) == before
        assert [part.name for part in copied.path.parent.iterdir()] == [copied.path.name]

    def test_a_file_that_is_not_there_is_named(self, exporter: Exporter, case: Case) -> None:
        path = case.path.with_name(f"none{exporter.suffix}")
        with pytest.raises(ExportError, match=f"none{exporter.suffix}"):
            exporter.open(path, case.graph)

    def test_damaged_files_are_named(self, exporter: Exporter, copied: Case) -> None:
        parts = [p for p in copied.path.rglob("*") if p.is_file()] or [copied.path]
        for part in parts:
            content = part.read_bytes()
            for length in (0, len(content) // 2):
                part.write_bytes(content[:length])
                with pytest.raises(ExportError, match=copied.path.name):
                    exporter.open(copied.path, copied.graph).run({"image": SHOWN[:1]})
            part.write_bytes(content)

    def test_it_runs_where_the_engine_is_not(self, exporter: Exporter, tmp_path: Path) -> None:
        case = exported(exporter.name, self.alone_family)
        np.save(tmp_path / "inputs.npy", SHOWN.numpy())
        code = f"{ALONE}{self.alone}\nnp.save(outputs, found)"
        files = [case.path, tmp_path / "inputs.npy", tmp_path / "outputs.npy"]
        command = [sys.executable, "-I", "-c", code, *map(str, files)]
        subprocess.run(command, check=True, cwd=tmp_path, env={"OMP_NUM_THREADS": "1"})
        ours, found = case.ours(), np.load(files[-1])
        close = np.abs(ours - found).max(1) <= self.tolerance * ours.std()
        assert np.mean(close) >= (1.0 if self.tolerance == 0 else 0.9)
