"""Checks before training of all that could otherwise fail only after the training."""

from __future__ import annotations

import tempfile

import numpy as np

from nas.evaluation.connection import check_cluster
from nas.export import forms_for, rehearse
from nas.export.raw import reading_raw
from nas.export.stand_in import stand_in
from nas.recipe.recipe import RecipeError
from nas.run.folder import RunFolderError
from nas.run.measuring import raw_usage
from nas.run.plan import Plan
from nas.run.steps.training import device_of
from search_spaces.graph import Graph
from search_spaces.space import SearchSpace, as_genotypes

_SAMPLED = 100


def check(plan: Plan, *, searching: bool) -> None:
    """Check device, outputs and export and, for a search, the cluster and the database.

    Raises:
        RecipeError: This machine lacks the device.
        RunFolderError: A file cannot be written.
        ExportError: The installed packages cannot write or run a form that the recipe asks for.
        ClusterError: The cluster cannot be used, or is too small.
        ArchiveError, WriteError: The database cannot be used.
    """
    device_of(plan)
    _check_outputs(plan)
    _check_training(plan)
    if searching:
        _check_search(plan)
    held, raw = telling_networks(plan.space), raw_usage(plan)
    networks = [reading_raw(stand_in(graph), raw) for graph in held]
    for form in forms_for(plan.recipe.export.formats):
        rehearse(form, networks)


def _check_training(plan: Plan) -> None:
    compute = plan.recipe.compute
    if not compute.train_workers or plan.files.supernet.exists():
        return
    if device_of(plan).type == "cuda" and not compute.gpus_per_worker:
        raise RecipeError(
            f"compute.train_workers = {compute.train_workers} would train on CPUs, although this "
            "machine has a GPU; give compute.gpus_per_worker = 1, or compute.device = 'cpu'"
        )
    each = compute.training_resources
    check_cluster(compute.train_workers, each, address=compute.ray_address)


def _check_search(plan: Plan) -> None:
    database = plan.recipe.search.archive
    if database is not None:
        from nas.archive.archive import Archive

        Archive(database, plan.space, study=plan.recipe.name)
    plan.recipe.compute.evaluating.check()


def _check_outputs(plan: Plan) -> None:
    """Refuse outputs whose path is a folder, and a machine without room for temporary files."""
    files = plan.files
    outputs = [files.results, files.report, files.supernet, files.training, files.history]
    outputs += [files.front(target.name) for target in plan.targets]
    for path in outputs:
        if path.is_dir():
            raise RunFolderError(
                f"{path} is a folder, but the run will write a file of that name; move it away or "
                "choose another run folder with --out"
            )
    try:
        with tempfile.TemporaryFile() as file:
            file.write(b"x")
    except OSError as error:
        raise RunFolderError(
            f"no temporary file can be written ({error}), which exporting needs; set TMPDIR to a "
            "folder with room"
        ) from error


def telling_networks(space: SearchSpace) -> list[Graph]:
    """A few random networks that together contain every operator and precision of many."""
    rows = space.sample_array(np.random.default_rng(0), _SAMPLED)
    networks = [space.decode(row) for row in (space.largest, *as_genotypes(rows))]
    held = [
        {(type(n.op), n.op.weight, n.op.activation) for n in g.nodes.values()} for g in networks
    ]
    left = set[object]().union(*held)
    chosen: list[Graph] = []
    while left:
        most = max(range(len(networks)), key=lambda i: len(held[i] & left))
        left -= held[most]
        chosen.append(networks[most])
    return chosen
