"""Why a subnet was chosen, in words, on results that are worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nas.facts.noise import Interval
from nas.report.estimates import Comparison, Estimate
from nas.report.selection import in_short, reasons, selections
from nas.report.subnets import FrontPoint
from tests.nas.report.two import FAST, device, of


def why(*args, stopped: int | None = None, **known) -> list[str]:
    target = device("d", *args, **known)
    return [*reasons(selections(of(target, stopped=stopped))["d"])]


def short(*args, **known) -> str:
    return in_short(selections(of(device("d", *args, **known)))["d"])


def test_of_equal_errors_the_cheapest_is_told_with_its_runner_up():
    assert why(1, FAST) == [
        "Chosen from 5 evaluated subnets, without limits.",
        "2 subnets share the lowest error, 1.00 %; of these it has the lowest latency.",
        "The runner-up is a subnet with error 1.00 %, latency 9.00 ms: 12 % more latency and the "
        "same error.",
    ]
    assert short(1, FAST) == "lowest latency of 2 that share the lowest error"


def test_a_tolerance_that_decided_is_told_with_what_it_passed_over():
    told = why(2, FAST, tolerance=0.5)
    assert told[1] == (
        "The tolerance decided: 3 subnets are at most 0.5 points above the lowest error, 1.00 %, "
        "and of these it has the lowest latency; without tolerance the choice would be a subnet "
        "with error 1.00 %, latency 8.00 ms."
    )
    brief = "lowest latency of 3 within {} of the lowest error"
    assert short(2, FAST, tolerance=0.5) == brief.format("0.5 points")
    assert short(2, FAST, tolerance=1.0) == brief.format("1 point")


def test_a_tolerance_that_changed_nothing_is_not_said_to_have_decided():
    told = why(1, FAST, tolerance=0.1)
    assert told[1].endswith("of these it has the lowest latency, and the lowest error too.")
    alone = why(3, FAST, tolerance=0.1, limits={"latency_ms": 3.0})
    assert "It alone has the lowest error, 3.00 %; no other comes within 0.1 points." in alone


def test_a_limit_that_decided_is_told_with_what_it_ruled_out():
    limits = {"latency_ms": 5.0, "model_bytes": 5000.0}
    assert why(2, FAST, limits=limits) == [
        "Of 5 evaluated subnets, 3 keep the limits.",
        "The limit on latency decided; without that limit the choice would be a subnet with "
        "error 1.00 %, latency 8.00 ms.",
        "It alone has the lowest error, 1.40 %.",
        "It uses latency 4.00 ms of 5.00 ms and model size 400 B of 5.00 kB.",
        "The runner-up is a subnet with error 3.00 %, latency 2.00 ms: 50 % less latency and 1.6 "
        "points more error.",
    ]
    assert short(2, FAST, limits=limits) == (
        "lowest error among 3 of 5 within its limits; latency decided"
    )


def test_limits_that_only_decide_together_are_told_so():
    told = why(2, FAST, limits={"latency_ms": 5.0, "model_bytes": 500.0})
    assert told[1].startswith("The limits decided together; without limits the choice would be")
    assert "decided" not in short(2, FAST, limits={"latency_ms": 5.0, "model_bytes": 500.0})


def test_limits_that_each_decide_are_both_named():
    crossed = {"latency_ms": (9.0, 1.0, 4.0, 2.0, 1.0), "model_bytes": (1.0, 9.0, 4.0, 2.0, 1.0)}
    told = why(2, crossed, limits={"latency_ms": 5.0, "model_bytes": 5.0})
    assert told[1].startswith("The limits on latency and model size decided, each alone; ")
    assert "error 1.00 %, latency 1.00 ms, model size 9.00 B" in told[1]


def test_limits_that_changed_nothing_are_told_so():
    told = why(1, FAST, limits={"latency_ms": 8.5})
    assert told[:2] == [
        "Of 5 evaluated subnets, 4 keep the limits.",
        "The limits changed nothing: without them the same subnet would be chosen.",
    ]


def test_the_only_subnet_within_the_limits_has_no_runner_up():
    told = why(4, FAST, limits={"latency_ms": 1.0})
    assert told[0] == "Of 5 evaluated subnets, 1 keeps the limits."
    assert not any("runner-up" in sentence for sentence in told)


def test_a_difference_is_told_in_samples_where_answers_are_right_or_wrong():
    target = device("d", 2, FAST, limits={"latency_ms": 5.0})
    sure = Estimate(1.4, interval=Interval(0.6, 3.5, 250, 4))
    pick = replace(target.chosen, error=Comparison(None, sure))
    told = [*reasons(selections(of(replace(target, chosen=pick)))["d"])]
    assert told[-1].endswith("50 % less latency and 1.6 points more error (4 of 250 samples).")


def test_one_step_down_the_front_is_told_with_its_price():
    front = tuple(FrontPoint((row,), 0.0, {}) for row in (4, 3, 1))
    told = why(1, FAST, front=front)
    assert told[-2].startswith("The runner-up is a subnet with error 1.00 %, latency 9.00 ms")
    assert told[-1] == (
        "The next cheaper one of the front is a subnet with error 3.00 %, latency 2.00 ms: 75 % "
        "less latency and 2 points more error."
    )


def test_subnets_that_were_stopped_early_or_do_not_run_were_no_choice():
    infinite = {**FAST, "latency_ms": (np.inf, *FAST["latency_ms"][1:])}
    told = why(2, infinite, stopped=1)
    assert told[0] == (
        "Chosen from 3 evaluated subnets (2 more were stopped early or do not run here), "
        "without limits."
    )
    assert told[1] == "It alone has the lowest error, 1.40 %."


@pytest.mark.parametrize(
    "change",
    [{"chosen": None}, {"costs": {}}, {"costs": {"latency_ms": (1.0,)}}, {"tolerance": 9.0}],
    ids=["none chosen", "no costs", "unfinished costs", "another choice by these settings"],
)
def test_nothing_is_said_of_a_choice_that_the_results_do_not_explain(change):
    assert selections(of(replace(device("d", 1, FAST), **change))) == {}
