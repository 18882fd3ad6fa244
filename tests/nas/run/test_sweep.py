"""Many runs over a cluster."""

import csv
import json
import os
import signal
from pathlib import Path

import pytest

from nas.evaluation.cluster import ClusterError
from nas.report.data import Results
from nas.run.folder import RunFolder, RunFolderError
from nas.run.sweep import Job, jobs, sweep, write_summary
from nas.terminal.display import Silent
from tests.nas.local_ray import local_ray
from tests.nas.runs import assert_refused, measured, nas, succeeded


@pytest.fixture(scope="module", autouse=True)
def ray():
    with local_ray(2) as ray:
        yield ray


@pytest.fixture(scope="module")
def swept(recipe, tmp_path_factory) -> tuple[dict[Job, Results | str], Path]:
    out = tmp_path_factory.mktemp("sweep")
    todo = jobs([recipe], out=out, seeds=[0, 1], targets=["edge-npu", "bit-serial"])
    return sweep(todo, cpus=1, display=Silent()), out


def test_every_seed_has_a_run_for_all_targets(swept):
    found, out = swept
    assert [job.recipe.seed for job in found] == [0, 1]
    for job, results in found.items():
        assert isinstance(results, Results)
        assert [target.name for target in results.targets] == ["edge-npu", "bit-serial"]
        assert job.folder == out / f"tiny-seed{job.recipe.seed}"
    first, second = (measured(job.folder) for job in found)
    assert first != second


def test_a_run_of_a_sweep_is_a_run(swept, finished):
    found, _ = swept
    [alone] = [job for job in found if job.recipe.seed == 0]
    assert measured(alone.folder) == measured(finished)


def test_what_has_ended_is_not_run_again(swept):
    found, _ = swept
    before = {job: RunFolder(job.folder).results.stat().st_mtime_ns for job in found}
    again = sweep(list(found), cpus=1, display=Silent())
    assert again == found
    assert before == {job: RunFolder(job.folder).results.stat().st_mtime_ns for job in found}


def test_a_run_that_fails_is_told_beside_the_others(recipe, swept, tmp_path):
    _, out = swept
    [good] = jobs([recipe], out=out, seeds=[0], targets=["edge-npu", "bit-serial"])
    bad = Job(good.recipe, tmp_path / "file")
    bad.folder.mkdir()
    (bad.folder / "recipe.json").write_text("{}")
    (bad.folder / "supernet.safetensors").write_bytes(b"torn")
    found = sweep([good, bad], cpus=1, display=Silent())
    assert isinstance(found[good], Results)
    assert "recipe" in str(found[bad])
    write_summary(found, tmp_path / "sweep.csv")
    with (tmp_path / "sweep.csv").open() as file:
        states = [row["state"] for row in csv.DictReader(file)]
    assert states[:2] == ["done", "done"]
    assert states[2].startswith("failed: ")


def test_runs_that_would_share_a_folder_are_refused(recipe, tmp_path):
    with pytest.raises(RunFolderError, match="share"):
        jobs([recipe, recipe], out=tmp_path)


def test_a_run_larger_than_the_cluster_is_refused(recipe, tmp_path):
    with pytest.raises(ClusterError, match="room"):
        sweep(jobs([recipe], out=tmp_path), cpus=64, display=Silent())


def test_a_killed_worker_costs_nothing(ray, recipe, swept, tmp_path):
    found, _ = swept
    [whole] = [job for job in found if job.recipe.seed == 0]
    killed = tmp_path / "killed"
    [job] = jobs([recipe], out=tmp_path, seeds=[0], targets=["edge-npu", "bit-serial"])

    @ray.remote(max_retries=0)
    def kill_the_worker():
        import psutil

        while not RunFolder(job.folder).training.exists():
            pass
        for process in psutil.process_iter(["cmdline"]):
            if "ray::_run" in " ".join(process.info["cmdline"] or ()):
                os.kill(process.pid, signal.SIGKILL)
        killed.write_text("")

    kill_the_worker.remote()
    [results] = sweep([job], cpus=1, display=Silent()).values()
    assert killed.exists()
    assert isinstance(results, Results)
    assert measured(job.folder) == measured(whole.folder)


def test_the_command_line_sweeps(recipe, swept, tmp_path):
    _, out = swept
    command = ("sweep", recipe, "--seeds", "0,1", "--target", "edge-npu", "--target", "bit-serial")
    succeeded(nas(*command, "--out", out))
    with (out / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["seed"], row["target"]) for row in rows] == [
        ("0", "edge-npu"),
        ("0", "bit-serial"),
        ("1", "edge-npu"),
        ("1", "bit-serial"),
    ]
    recipe_there = json.loads((out / "tiny-seed1" / "recipe.json").read_text())
    assert recipe_there["seed"] == 1
    assert_refused(nas("sweep", recipe, "--seeds", "one", "--out", tmp_path), "--seeds")
