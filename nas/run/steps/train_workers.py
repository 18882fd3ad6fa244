"""Training on the workers of a Ray cluster, each of which runs its own rows of every batch.

The run folder lies on this machine, where workers of other machines cannot write. The first worker
therefore puts its checkpoints into a mailbox, an actor of Ray on this machine, and this process
takes them from there and writes them into the run folder.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from nas.evaluation.cluster import thread_variables
from nas.evaluation.connection import Lifelines, check_room, connected, require_ray_train
from nas.evaluation.crew import ClusterError
from nas.evaluation.dispatch import LOOK_S
from nas.files.durable import write_atomic
from nas.recipe.methods import methods_of
from nas.run.plan import Plan
from nas.settings.own_modules import import_modules, imported_modules
from nas.tasks.criterion import Criterion
from nas.tasks.task import TrainSplit
from search_spaces.space import SearchSpace
from supernets.checkpoint import CheckpointError
from supernets.ranks import Ranks
from supernets.supernet import Supernet
from supernets.training.context import Cost
from supernets.training.schedule import TrainingSettings
from supernets.training.train import Progress, Say, TrainingDiverged, train

_TAKE_S = 0.5
News = tuple[int, int, Mapping[str, float]]


@dataclass(frozen=True, eq=False)
class Job:
    """What a worker needs to train, apart from the checkpoint with which it begins."""

    space: SearchSpace
    data: TrainSplit
    settings: TrainingSettings
    criterion: Criterion
    device_cost: Cost | None


class Mailbox:
    """The class of the actor that passes on what the first worker tells.

    Args:
        checkpoint: The checkpoint with which the training begins.
    """

    def __init__(self, checkpoint: bytes) -> None:
        self._checkpoint, self._fresh = checkpoint, False
        self._news: News | None = None
        self._said: list[str] = []

    def put(self, news: News, checkpoint: bytes | None) -> None:
        """Keep the progress of the training and its last checkpoint, if there is a new one."""
        self._news = news
        if checkpoint is not None:
            self._checkpoint, self._fresh = checkpoint, True

    def say(self, sentence: str) -> None:
        """Keep a sentence for the user."""
        self._said.append(sentence)

    def take(self) -> tuple[News | None, bytes | None, list[str]]:
        """The progress, the checkpoint and the sentences that came since the last call."""
        told = self._news, self._checkpoint if self._fresh else None, self._said
        self._news, self._fresh, self._said = None, False, []
        return told

    def checkpoint(self) -> bytes:
        """The last checkpoint."""
        return self._checkpoint


def train_on_workers(plan: Plan, progress: Progress, say: Say) -> None:
    """Continue the training in the run folder on the recipe's workers, to its end.

    Args:
        plan: The plan of the run, in whose folder lies a checkpoint of the training.
        progress: See `train`.
        say: See `train`.

    Raises:
        TrainingDiverged: See `train`.
        ClusterError: The cluster cannot be used, or a worker failed or died; the last checkpoint
            that arrived is in the run folder.
    """
    compute = plan.recipe.compute
    require_ray_train()
    with connected(compute.ray_address) as ray, tempfile.TemporaryDirectory() as scratch:
        check_room(compute.train_workers, compute.training_resources)
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        actor = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here)
        mailbox = actor.remote(plan.files.training.read_bytes())
        try:
            fit = _trainer(ray, plan, mailbox, Path(scratch)).fit
            path = plan.files.training

            def deliver() -> None:
                news, checkpoint, said = ray.get(mailbox.take.remote())
                if checkpoint is not None:
                    write_atomic(path, checkpoint)
                for sentence in said:
                    say(sentence)
                if news is not None:
                    progress(*news)

            _attend(ray, fit, deliver)
        finally:
            ray.kill(mailbox)  # without which a worker that is left stops at its next step


def _trainer(ray: ModuleType, plan: Plan, mailbox: Any, scratch: Path) -> Any:
    compute, needs = plan.recipe.compute, plan.recipe.compute.training_resources
    threads = max(1, int(compute.cpus_per_worker))
    job = Job(plan.space, plan.task.train, plan.training, plan.task.criterion, plan.device_cost)
    return ray.train.torch.TorchTrainer(
        work,
        # The user's own modules are imported before the job is read, which may hold their classes.
        train_loop_config={
            "job": [ray.put(job)],
            "mailbox": mailbox,
            "python": imported_modules(),
            "threads": threads,
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=compute.train_workers,
            use_gpu=needs["GPU"] > 0,
            resources_per_worker={kind: amount for kind, amount in needs.items() if amount},
        ),
        run_config=ray.train.RunConfig(
            name="training",
            storage_path=str(scratch),
            worker_runtime_env={"env_vars": thread_variables(threads)},
        ),
    )


def _attend(ray: ModuleType, fit: Callable[[], object], deliver: Callable[[], None]) -> None:
    """Run `fit` in a thread, and `deliver` from time to time and once at the end.

    In the main thread, Ray would replace this process's handling of signals.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            fit()
        except BaseException as error:  # noqa: BLE001  # raised below
            raised.append(error)

    lifelines, thread = Lifelines(ray), threading.Thread(target=run, daemon=True)
    thread.start()
    waited = 0.0
    while thread.is_alive():
        thread.join(_TAKE_S)
        deliver()
        waited += _TAKE_S
        if waited >= LOOK_S:
            lifelines.check()
            waited = 0.0
    deliver()
    if raised:
        raise error_of(raised[0]) from raised[0]


def error_of(error: object) -> BaseException:
    """The error to raise for an error of Ray Train: the training's own, or a sentence.

    Args:
        error: An error whose `worker_failures`, if it has them, are errors by worker.
    """
    failures: Mapping[int, BaseException] = getattr(error, "worker_failures", {})
    for failure in failures.values():
        if isinstance(failure, TrainingDiverged | CheckpointError):
            return failure
    told = "; ".join(f"worker {rank}: {_line(each)}" for rank, each in sorted(failures.items()))
    return ClusterError(
        f"the training on workers has ended early, {told or _line(error)}; the last checkpoint is "
        "kept, so repair what was wrong and go on with --resume"
    )


def _line(error: object) -> str:
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}"


def work(config: Mapping[str, Any]) -> None:
    """Train in a worker of Ray Train; all workers run this function at the same time."""
    ray = require_ray_train()
    torch.set_num_threads(config["threads"])
    import_modules(config["python"], beside=Path())
    job: Job = ray.get(config["job"][0])
    methods, ranks = methods_of(job.settings), Ranks.of_group()
    device, mailbox = ray.train.torch.get_device(), config["mailbox"]
    supernet = Supernet(job.space, seed=job.settings.seed, quantizer=methods.quantizer)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "training.safetensors"
        path.write_bytes(ray.get(mailbox.checkpoint.remote()))
        sent = path.stat().st_mtime_ns

        def tell(done: int, total: int, losses: Mapping[str, float]) -> None:
            nonlocal sent
            if not ranks.first:
                return
            written = path.stat().st_mtime_ns
            content = path.read_bytes() if written != sent else None
            ray.get(mailbox.put.remote((done, total, losses), content))
            sent = written

        train(
            supernet,
            job.data.to(device),
            job.settings,
            criterion=job.criterion,
            state_path=path,
            methods=methods,
            device_cost=job.device_cost,
            progress=tell,
            say=lambda sentence: ray.get(mailbox.say.remote(sentence)) if ranks.first else None,
            device=device,
            ranks=ranks,
        )
