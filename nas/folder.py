"""The folder of one run: where each file lies, whose it is, and who works in it now."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.durable import write_atomic
from nas.recipe import Recipe

# What made the supernet: a resumed run may change anything else.
_FIXED = ("seed", "task", "space", "training")


class RunFolderError(ValueError):
    """A run folder that cannot be used as asked; the message says why and what to do."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of everything that a run writes.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe, JSON."""
        return self.path / "recipe.json"

    @property
    def space(self) -> Path:
        """The search space, JSON."""
        return self.path / "space.json"

    @property
    def supernet(self) -> Path:
        """The trained supernet, safetensors."""
        return self.path / "supernet.safetensors"

    @property
    def training(self) -> Path:
        """The state of a training in progress, safetensors."""
        return self.path / "training.safetensors"

    @property
    def history(self) -> Path:
        """Seconds and losses of the training, JSON."""
        return self.path / "training.json"

    @property
    def table(self) -> Path:
        """The latency table measured on this machine, CSV."""
        return self.path / "this-cpu.csv"

    @property
    def probe(self) -> Path:
        """Zero-cost scores of the probed subnets, JSON."""
        return self.path / "probe.json"

    @property
    def archive(self) -> Path:
        """Every true evaluation, an Optuna journal."""
        return self.path / "archive.journal"

    @property
    def results(self) -> Path:
        """What the run found, JSON."""
        return self.path / "results.json"

    @property
    def report(self) -> Path:
        """The same to look at, HTML."""
        return self.path / "report.html"

    def front(self, target: str) -> Path:
        """The Pareto table of a target, CSV."""
        return self.path / f"front-{target}.csv"

    def exported(self, target: str) -> Path:
        """The subnet chosen for a target, ONNX."""
        return self.path / f"{target}.onnx"

    @contextlib.contextmanager
    def open(self, recipe: Recipe, *, resume: bool) -> Iterator[RunFolder]:
        """Claim the folder for one process and `recipe`, or say why that cannot be.

        Raises:
            RunFolderError: The folder holds a run and `resume` is not asked for, holds a run of
                another supernet, is used by another process, or cannot be written.
        """
        content = recipe.model_dump(mode="json")
        self._check(content, resume=resume)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RunFolderError(
                f"cannot write the run folder {self.path}: {error.strerror}; "
                "choose another with --out"
            ) from error
        try:
            self._claim(lock)
            write_atomic(self.recipe, json.dumps(content, indent=1).encode())
            yield self
        finally:
            os.close(lock)

    def _check(self, content: dict[str, Any], *, resume: bool) -> None:
        if not self.recipe.exists():
            return
        if not resume:
            raise RunFolderError(
                f"the run folder {self.path} already holds a run; "
                "continue it with --resume or choose another with --out"
            )
        try:
            before = json.loads(self.recipe.read_text())
            changed = [key for key in _FIXED if before[key] != content[key]]
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{self.recipe} is not a recipe that a run wrote ({error}); "
                "remove the folder or choose another with --out"
            ) from error
        if changed:
            raise RunFolderError(
                f"the run in {self.path} has another {' and '.join(changed)}, so its supernet does "
                "not fit this recipe; choose another folder with --out"
            )

    def _claim(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFolderError(
                f"another process is running in {self.path}; wait for it or choose --out"
            ) from error
