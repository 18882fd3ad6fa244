"""What a device has against a policy, in words."""

import math

import pytest

from nas.problem.goals import Goal, within_device
from nas.run.policies import objection


def goal(limits, held):
    limits, origins = within_device(limits, held)
    costs = dict.fromkeys(("latency_ms", "model_bytes"), lambda rows: rows.sum(1))
    return Goal("device", costs, ("latency_ms",), limits, origins)


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ({"latency_ms": 1.0, "model_bytes": 10_000}, ""),
        ({"latency_ms": 4.0, "model_bytes": 12_288}, ""),
        (
            {"latency_ms": 1.0, "model_bytes": 287_000},
            "Model size 287 kB, at most 12.3 kB (the device has 12,288 bytes of flash)",
        ),
        ({"latency_ms": 4.5, "model_bytes": 1.0}, "Latency 4.50 ms, at most 4.00 ms"),
        ({"latency_ms": math.inf, "model_bytes": math.inf}, "the device cannot run its formats"),
    ],
)
def test_a_policy_is_no_candidate_for_a_reason(costs, told):
    found = objection(goal({"latency_ms": 4.0}, {"model_bytes": 12_288.0}), costs)
    assert found == told


def test_several_limits_are_told_together():
    asked = goal({"latency_ms": 4.0, "model_bytes": 1e9}, {"model_bytes": 12_288.0})
    found = objection(asked, {"latency_ms": 5.0, "model_bytes": 2e6})
    assert found.startswith("Latency 5")
    assert "; Model size 2.00 MB, at most 12.3 kB (the device has 12,288 bytes of flash" in found
