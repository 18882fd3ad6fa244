from dataclasses import replace

import pytest

from nas.facts.noise import FEW_SAMPLES, Interval
from nas.report.advice import advice, doubts
from nas.report.data import ProxyRank
from nas.report.estimates import Comparison, Estimate, LatencyBand
from nas.report.html import html
from nas.report.subnets import CostCheck, FrontPoint, Largest
from nas.report.summary import told, write_front_csv
from tests.nas.report.sample import CLASSES

FOLDER = Largest(39.7, 50.8, 0.001, 82.0, Interval(28.5, 52.0, 63, 25))
GOOD = Largest(4.0, 4.1, 0.8, 90.0, Interval(3.4, 4.7, 5000, 200))


def with_largest(results, largest):
    return replace(results, largest=largest, recipe={"training": {"quantized_epochs": 5}})


def test_a_run_as_it_should_be_gets_no_advice(results):
    assert [*advice(with_largest(results, GOOD))] == []
    assert [*advice(replace(results, largest=None))] == []


def test_a_small_split_a_weak_network_and_a_loss_by_rounding_are_told(results):
    rounding, weak, few = advice(with_largest(results, FOLDER))
    assert "39.70 %" in rounding
    assert "50.80 %" in rounding
    assert "Raise training.quantized_epochs (now 5)" in rounding
    assert "82.00 %" in weak
    assert "training.float_epochs" in weak
    assert (
        "with 63 samples, the error of the largest network may be anything from 28.5 to 52.0 %"
        in few
    )
    assert "task.validation_fraction" in few


@pytest.mark.parametrize(
    "largest",
    [
        replace(GOOD, uniform=5.5, p_value=0.3),  # may be chance
        replace(GOOD, uniform=4.5, p_value=0.01),  # sure, and small
        replace(GOOD, uniform=None, p_value=None),
        replace(GOOD, uniform=2.0, p_value=0.001),  # better
    ],
)
def test_a_small_or_doubtful_loss_by_rounding_is_no_reason_to_train_longer(results, largest):
    assert [*advice(with_largest(results, largest))] == []


def test_losses_that_are_no_shares_are_weak_only_near_a_constant_answer(results):
    free = Interval(40.0, 46.0, FEW_SAMPLES)
    assert [*advice(with_largest(results, Largest(43.0, constant=65.0, interval=free)))] == []
    (weak,) = advice(with_largest(results, Largest(60.0, constant=65.0, interval=free)))
    assert weak.startswith("The largest network itself is weak")


def front(*members):
    """Members of a front from wrong answers of 63 and p-values."""
    return tuple(
        FrontPoint(
            (place,),
            100 * wrong / 63,
            {"latency_ms": 1.0 + place},
            interval=Interval(0.0, 90.0, 63, wrong),
            p_value=chance,
        )
        for place, (wrong, chance) in enumerate(members)
    )


def test_a_front_of_neighbours_one_sample_apart_says_so(results):
    doubtful = replace(
        results.targets[0], front=front((33, None), (32, 1.0), (31, 1.0)), cost_checks=()
    )
    (sentence,) = doubts(CLASSES, doubtful)
    assert "2 of its 2 steps lie within the noise of 63 validation samples" in sentence
    assert "the smallest is 1 sample)" in sentence
    lines = [part for part in told(replace(results, targets=(doubtful,))) if isinstance(part, str)]
    assert f"{doubtful.name}: {sentence}" in lines
    assert sentence in html(replace(results, targets=(doubtful,)))


def test_a_front_of_sure_steps_raises_no_doubt(results):
    sure = replace(results.targets[0], front=front((33, None), (20, 0.001)), cost_checks=())
    assert [*doubts(CLASSES, sure)] == []
    page = html(replace(results, targets=(sure,)))
    assert "yes (p = 0.0010)" in page


def test_a_front_without_answers_says_nothing_of_noise(results):
    bare = replace(results.targets[0], cost_checks=())
    assert [*doubts(CLASSES, bare)] == []


@pytest.mark.parametrize(
    ("ratios", "told_there"),
    [
        ((1.050, 1.053, 1.068), "slower than predicted, half of them by more than 5.3%"),
        ((0.90, 0.91, 0.95), "faster than predicted, half of them by more than 9.0%"),
        ((0.97, 1.02, 1.05), ""),
        ((1.0001, 1.0002, 1.0003), ""),
    ],
)
def test_latencies_that_are_all_on_one_side_are_told(results, ratios, told_there):
    checks = tuple(CostCheck((n,), 2.0, Estimate(2.0 * r)) for n, r in enumerate(ratios))
    band = LatencyBand(0.004, 0.03, 1.0, 1.0, 10)
    target = replace(results.targets[0], front=(), cost_checks=checks, latency_band=band)
    sentences = " ".join(doubts(CLASSES, target))
    assert told_there in sentences
    assert bool(sentences) is bool(told_there)


def test_intervals_stand_beside_the_figures(results, tmp_path):
    first = results.targets[0]
    file = replace(first.chosen.file, test_intervals={"error": Interval(1.9, 5.7, 359, 12)})
    error = Comparison(None, Estimate(1.39, interval=Interval(0.54, 3.52, 288, 4)))
    target = replace(
        first,
        chosen=replace(first.chosen, files=(file,), error=error),
        front=front((33, None), (31, 0.7)),
    )
    page = html(replace(results, targets=(target,)))
    assert "1.39 % (0.5 to 3.5)" in page  # in the sentence on the choice
    assert '1.39 %<small class="range"> 0.5 to 3.5</small>' in page
    assert '<small class="range"> 94.3 to 98.1</small>' in page
    assert "with a confidence of 95 %" in page
    lines = [part for part in told(replace(results, targets=(target,))) if isinstance(part, str)]
    assert (
        f"{target.name}, with a confidence of 95 %: validation error 0.5 to 3.5 % (288 samples); "
        "test accuracy 94.3 to 98.1 % (359 samples)"
    ) in lines
    write_front_csv(target, tmp_path / "front.csv", words=CLASSES)
    head, row, *_ = (tmp_path / "front.csv").read_text().splitlines()
    assert head.startswith("rank,chosen,error,error_low,error_high,latency_ms")
    assert row.split(",")[3:5] == ["0.0", "90.0"]


@pytest.mark.parametrize(
    ("count", "sure"),
    [(3, "no value can be told from chance"), (64, "values up to ± 0.17 may be chance")],
)
def test_proxies_are_told_with_the_subnets_they_were_judged_on(results, count, sure):
    page = html(replace(results, proxies={"macs": ProxyRank("higher", 0.6, count)}))
    assert f"ranking of {count} subnets" in page
    assert sure in page
