"""Inputs as people bring them, replayed through the command line: read rightly, told, or refused.

    python -m benchmarks.replay_inputs FOLDER

FOLDER holds small programs that write folders of images and arrays as users have them
(`make_images.py`, `arrays.py`, `rare_class.py`) and a small recipe, `base.toml`. Each input is
written into a temporary folder and read by `nas spaces`; the recipe is also run, its data are
relabelled, and the run is continued. The outcome of each is asserted: the exit code, and the words
that `nas` must say. Latency tables and measured networks in every form are tests of their own, in
`tests/nas/targets/test_plausible.py` and `tests/nas/targets/transfer/`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

IMAGES = {
    "depth16": (0, "to 53713"),
    "depth12": (0, "to 3344"),
    "float": (0, "to 0.819608"),
    "exif": (1, "images of 2 sizes"),
    "val": (0, "validation"),
    "heic": (1, "20 in all"),
    "nested": (0, "bird: "),
    "jfif": (0, "dog: "),
}
ARRAYS = {
    "scale.npz": (1, "narrower"),
    "keys.npz": (0, "images"),
    "val_keys.npz": (0, "x_val"),
    "rare.npz": (0, "validation"),
}
PER_TENSOR = 'weight_symmetry = ["symmetric"]\nweight_granularity = ["per-tensor"]'


@dataclass(frozen=True)
class Replay:
    """What was done with one input, and what came of it."""

    name: str
    code: int
    said: str

    def require(self, code: int, words: str) -> str:
        """A line of the table; raises `AssertionError` for another outcome."""
        outcome = " ".join(self.said.split())
        assert (self.code, words in outcome) == (code, True), (self.name, self.code, outcome)
        return f"| {self.name} | {'refused' if code else 'read'} | {words} |"


def nas(name: str, *words: str, folder: Path) -> Replay:
    """A call of the command line in a folder."""
    paths = [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
    wide = {**os.environ, "COLUMNS": "1000", "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "nas", *words]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=wide, check=False
    )
    return Replay(name, done.returncode, done.stdout + done.stderr)


def made(program: Path, *words: str, folder: Path) -> None:
    """Run a program that writes inputs into a folder; its own later lines may be out of date."""
    subprocess.run(
        [sys.executable, str(program), *words], cwd=folder, capture_output=True, check=False
    )


def replays(inputs: Path, folder: Path) -> Iterator[str]:
    """The lines of the table."""
    recipe = (inputs / "base.toml").read_text().replace("calibration_images", "calibration_samples")
    (folder / "base.toml").write_text(recipe)
    for kind, expected in IMAGES.items():
        made(inputs / "make_images.py", kind, folder=folder)
        found = nas(kind, "spaces", "base.toml", "--set", f'task.path="{kind}"', folder=folder)
        yield found.require(*expected)
    made(inputs / "arrays.py", folder=folder)
    made(inputs / "rare_class.py", folder=folder)
    for file, expected in ARRAYS.items():
        task = f'task={{kind="arrays", path="{file}"}}'
        yield nas(file, "spaces", "base.toml", "--set", task, folder=folder).require(*expected)
    yield _per_tensor(folder)
    yield from _relabelled(folder)


def _per_tensor(folder: Path) -> str:
    shipped = Path(__file__).parent.parent / "nas" / "targets" / "devices" / "edge-npu.toml"
    text = shipped.read_text().replace('weight_symmetry = ["symmetric"]', PER_TENSOR)
    (folder / "npu.toml").write_text(text.replace('name = "edge-npu"', 'name = "npu"'))
    settings = [
        'task={kind="digits"}',
        'targets.0.name="npu.toml"',
        'space.policy.weight_granularities=["per-tensor"]',
    ]
    given = [word for setting in settings for word in ("--set", setting)]
    found = nas("per-tensor weights", "spaces", "base.toml", *given, folder=folder)
    return found.require(0, "distinct networks")


def _relabelled(folder: Path) -> Iterator[str]:
    shutil.move(folder / "val", folder / "data")
    run = ("run", "base.toml", "--out", "run")
    yield nas("a run", *run, folder=folder).require(0, "edge-npu")
    for split in ("train", "val", "test"):
        here = folder / "data" / split
        (here / "cat").rename(here / "x")
        (here / "dog").rename(here / "cat")
        (here / "x").rename(here / "dog")
    changed = nas("the same, relabelled", *run, "--resume", folder=folder)
    yield changed.require(1, "train")


def main() -> None:
    """Replay all inputs and print the table."""
    if len(sys.argv) != 2:
        sys.exit("give the folder that holds base.toml and make_images.py")
    print("| input | outcome | what `nas` says |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as temporary:
        for line in replays(Path(sys.argv[1]).resolve(), Path(temporary)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
