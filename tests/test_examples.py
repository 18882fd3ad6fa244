"""The examples do what they say."""

from pathlib import Path

import onnxruntime
import pytest

from examples import quickstart
from nas.tasks import DigitsTask


def test_quickstart_prints_a_front_and_leaves_a_file_that_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quickstart.main(tmp_path)
    heading, *front, written = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["error", "latency_ms"]
    errors, latencies = zip(*([float(x) for x in row.split()[1:3]] for row in front), strict=True)
    assert len(front) >= 2
    assert list(latencies) == sorted(latencies)
    assert list(errors) == sorted(errors, reverse=True)
    session = onnxruntime.InferenceSession(tmp_path / "subnet.onnx")
    inputs, labels = next(DigitsTask().load().test_batches(1000))
    (output,) = session.run(["output"], {name: x.numpy() for name, x in inputs.items()})
    right = 100 * (output.argmax(1) == labels.numpy()).mean()
    assert f"{right:.2f} % on test" in written
    assert right > 85
