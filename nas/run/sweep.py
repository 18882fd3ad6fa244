"""A sweep: many runs on a cluster, one per recipe and seed, each resumable in its own folder."""

from __future__ import annotations

import csv
import io
import itertools
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.evaluation.connection import Lifelines, check_room, connected
from nas.evaluation.dispatch import LOOK_S
from nas.files.durable import write_atomic
from nas.recipe.table_recipe import AnyRecipe, load_any_recipe, validate_any_recipe
from nas.report.data import Results
from nas.report.store import load
from nas.report.subnets import Chosen
from nas.report.words import Words
from nas.run.folder import RunFolder, RunFolderError
from nas.run.pipeline import run
from nas.terminal.display import Display
from search_spaces.documents import UnreadableFile

COLUMNS = (
    *("run", "seed", "target", "state", "evaluations", "front", "hypervolume"),
    *("validated", "error", "objective", "cost", "tested", "test", "folder"),
)
_RETRIES = 3


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a sweep: its recipe and its folder."""

    recipe: AnyRecipe
    folder: Path

    @property
    def results(self) -> Results | None:
        """The results of this job if it ended before with the same recipe; else None."""
        files = RunFolder(self.folder)
        files.require_own()
        if not (files.results.exists() and files.recipe.exists()):
            return None
        try:
            same = files.stored_recipe() == self.recipe.model_dump(mode="json")
            return load(files.results) if same else None
        except UnreadableFile:
            return None


def jobs(
    recipes: Sequence[Path],
    *,
    out: Path,
    seeds: Sequence[int] = (),
    targets: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> list[Job]:
    """One job per recipe and seed; each has all targets, since targets share evaluations.

    Args:
        recipes: Recipe files of distinct names.
        out: The folder that gets one run folder per job, `NAME-seedN`.
        seeds: Seeds in place of the recipes' own.
        targets: Targets in place of the recipes' own.
        overrides: `KEY=VALUE` over every recipe.

    Raises:
        RecipeError: A recipe is not valid, with these seeds, targets and overrides.
        RunFolderError: Two jobs would share a folder.
    """
    made: list[Job] = []
    for path, seed in itertools.product(recipes, seeds or (None,)):
        content = load_any_recipe(path, overrides).model_dump(mode="json")
        if seed is not None:
            content["seed"] = seed
        if targets:
            content["targets"] = [{"name": name} for name in targets]
        recipe = validate_any_recipe(content, source=str(path))
        made.append(Job(recipe, (out / f"{recipe.name}-seed{recipe.seed}").resolve()))
    folders = [job.folder for job in made]
    if repeated := sorted({folder.name for folder in folders if folders.count(folder) > 1}):
        raise RunFolderError(
            f"several runs of the sweep would share the folder {', '.join(repeated)}; give recipes "
            "of distinct names, and every seed once"
        )
    return made


def sweep(
    todo: Sequence[Job],
    *,
    cpus: float,
    gpus: float = 0.0,
    address: str | None = None,
    display: Display,
) -> dict[Job, Results | str]:
    """Run the jobs on a Ray cluster, as many at once as it has room for.

    A run whose worker dies is started again and continues from its folder, which all machines must
    see under the same path. A run that fails is reported and does not stop the others. A repeated
    call runs only the jobs that have not ended.

    Args:
        todo: The jobs to run.
        cpus: CPUs that each run reserves.
        gpus: GPUs that each run reserves; may be a fraction.
        address: The address of the cluster; by default, a cluster on this machine is started.
        display: The display for progress.

    Returns:
        The results of each job, or why it failed.

    Raises:
        ClusterError: Ray is missing, the cluster cannot be reached, is lost, or no run fits on it.
    """
    found: dict[Job, Results | str] = {job: done for job in todo if (done := job.results)}
    left = [job for job in todo if job not in found]
    with display.stage("sweep") as advance:
        advance(len(found), len(todo), "")
        if left:
            for job, outcome in _outcomes(left, cpus, gpus, address):
                found[job] = outcome
                note = "failed" if isinstance(outcome, str) else "done"
                advance(len(found), len(todo), f"{job.folder.name} {note}")
    return {job: found[job] for job in todo}


def _outcomes(
    left: Sequence[Job], cpus: float, gpus: float, address: str | None
) -> Iterator[tuple[Job, Results | str]]:
    """Each job with its results or the reason of its failure, in the order in which jobs end."""
    with connected(address) as ray:
        check_room(1, {"CPU": cpus, "GPU": gpus})
        task = ray.remote(_run).options(num_cpus=cpus, num_gpus=gpus, max_retries=_RETRIES)
        lifelines = Lifelines(ray)
        waiting: dict[Any, Job] = {
            task.remote(job.recipe.model_dump(mode="json"), job.folder): job for job in left
        }
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=LOOK_S)
            lifelines.check()
            for reference in done:
                job = waiting.pop(reference)
                try:
                    problem = ray.get(reference)
                except ray.exceptions.RayError as error:
                    problem = f"its worker died {_RETRIES + 1} times: {error}"
                yield job, problem or load(RunFolder(job.folder).results)


def _run(content: Mapping[str, Any], folder: Path) -> str | None:
    """Run a job on a worker of Ray; returns an error as text, or None.

    Content and text are sent, since not every recipe and exception can be sent between processes.
    """
    try:
        run(validate_any_recipe(content, beside=Path()), folder=folder, resume=True)
    except Exception as error:  # noqa: BLE001  # told by the caller, beside the other runs
        write_atomic(folder / "error.txt", traceback.format_exc().encode())
        return f"{type(error).__name__}: {error}"
    return None


def write_summary(found: Mapping[Job, Results | str], path: Path) -> None:
    """Write a CSV file with one row per run and target, including failed runs."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for job, outcome in found.items():
        writer.writerows(summary(job, outcome))
    write_atomic(path, out.getvalue().encode())


def summary(job: Job, outcome: Results | str) -> list[dict[str, object]]:
    """The rows of one run, with the keys `COLUMNS`; values that a failed run lacks are left out.

    `error` is on the validation split, in the words of `validated`; `test` is that of the exported
    file on the test split, in the words of `tested`.
    """
    common = {"run": job.recipe.name, "seed": job.recipe.seed, "folder": str(job.folder)}
    if isinstance(outcome, str):
        first = outcome.splitlines()[0]
        return [{**common, "state": f"failed: {first}"}]
    words, rows = outcome.words, list[dict[str, object]]()
    for target in outcome.targets:
        row: dict[str, object] = {
            **common,
            "target": target.name,
            "state": "done",
            "evaluations": len(outcome.evaluated),
            "front": len(target.front),
            "hypervolume": target.hypervolume[-1].share if target.hypervolume else "",
            "objective": target.objectives[0],
            "validated": words.error.heading,
            "tested": words.shown.heading,
        }
        if target.chosen is not None:
            row |= _figures(words, target.chosen, target.objectives[0])
        rows.append(row)
    return rows


def _figures(words: Words, chosen: Chosen, objective: str) -> dict[str, object]:
    """The error, the cost and the test figure of a chosen subnet; empty texts if unknown."""
    measured, file = chosen.error.measured, chosen.file
    tested = None if file is None else file.test_error
    return {
        "error": measured.mean if measured else "",
        "cost": words.value(objective, chosen.costs[objective]),
        "test": "" if tested is None else words.shown.figure(tested),
    }
