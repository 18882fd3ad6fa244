"""The parts of `nas run` in Python: one supernet, one search, one file, in half a minute.

`python examples/quickstart.py [FOLDER]` prints the front and writes `subnet.onnx` to FOLDER.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

import nas
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.export import export_onnx, verify
from nas.facts.usage import as_texts
from nas.targets import legal, load_target
from nas.tasks import DigitsTask
from search_spaces.residual import residual
from supernets.deploy import Deployment
from supernets.supernet import Supernet
from supernets.training.train import TrainingSettings, train


def main(folder: Path) -> None:
    """Train, search, export and check; write to `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # networks this small gain nothing from more
    task, target = DigitsTask().load(), load_target("edge-npu")
    widths, depths = [[8], [8, 12, 16], [16, 24, 32]], [[1, 2], [1, 2]]
    space = residual(task.inputs, task.output, widths=widths, depths=depths)
    space = legal(space, [target])  # without options that the device refuses

    supernet = Supernet(space, seed=0)
    settings = TrainingSettings(float_epochs=3, quantized_epochs=3)
    state, criterion = folder / "training.safetensors", task.criterion
    train(supernet, task.train, settings, criterion=criterion, state_path=state)

    deployment = Deployment(supernet, task.calibration(256, 256))
    shown = [*task.batches("validation", 256)]
    evaluator = SupernetEvaluator(deployment, shown, criterion=criterion, seed=0)
    study = nas.search(space, evaluator, targets=target, metric=criterion.error, budget=40)
    print(study.front().to_string())

    deployed = replace(deployment(study.best.genotype), metadata=as_texts(task.stated()))
    written = export_onnx(deployed, folder / "subnet.onnx")
    checked = verify(written.path, deployed, *task.test_samples(), criterion=criterion)
    told = criterion.shown.text(checked.file_error)
    print(f"{written.path}: {written.file_bytes:,} bytes, {told} on test")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart"))
