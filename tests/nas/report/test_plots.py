import math
from dataclasses import replace

import pytest

from nas.facts.noise import Interval, tau_interval
from nas.report import plots
from nas.report.data import LossPoint, ProxyRank, TrainingSummary
from nas.report.estimates import Estimate
from nas.report.pareto import pareto, plane
from nas.report.policy_figure import groups, policy
from nas.report.style import bits_colour
from nas.report.subnets import LayerPolicy, Point
from nas.report.view import View
from tests.nas.report.sample import CLASSES


def traces(figure):
    return {trace["name"]: trace for trace in figure.to_plotly_json()["data"]}


@pytest.fixture
def target(results):
    return results.targets[0]


def test_pareto_shows_all_that_was_measured(results, target):
    shown = traces(pareto(results, target, "latency_ms").figure)
    assert [*shown["evaluated subnets"]["x"]] == [*target.costs["latency_ms"]]
    assert [*shown["evaluated subnets"]["y"]] == [p.metrics["error"] for p in results.evaluated]
    front = [(p.costs["latency_ms"], p.error) for p in target.front]
    measured = shown["measured front"]
    assert [*zip(measured["x"], measured["y"], strict=True)] == sorted(front)
    assert measured["line"]["shape"] == "hv"


def test_pareto_marks_the_chosen_subnet_and_the_references(results, target):
    shown = traces(pareto(results, target, "latency_ms").figure)
    star = shown["chosen subnet"]
    assert star["marker"]["symbol"] == "star"
    assert [*star["x"]] == [target.chosen.costs["latency_ms"]]
    assert [*star["y"]] == [target.chosen.error.measured.mean]
    for reference in target.references:
        named = shown[reference.name]
        assert ([*named["x"]], [*named["y"]]) == (
            [reference.costs["latency_ms"]],
            [reference.error],
        )
    symbols = {shown[reference.name]["marker"]["symbol"] for reference in target.references}
    assert len(symbols) == len(target.references)


def test_the_interval_of_the_chosen_subnet_is_a_bar(results, target):
    error = Estimate(4.0, interval=Interval(2.5, 6.0, 100, 4))
    chosen = replace(target.chosen, error=replace(target.chosen.error, measured=error))
    shown = traces(pareto(results, replace(target, chosen=chosen), "latency_ms").figure)
    bar = shown["chosen subnet"]["error_y"]
    assert (bar["visible"], [*bar["array"]], [*bar["arrayminus"]]) == (True, [2.0], [1.5])
    assert not traces(pareto(results, target, "latency_ms").figure)["chosen subnet"]["error_y"][
        "visible"
    ]


def test_no_text_is_drawn_beside_points_where_texts_could_overlap(results, target):
    drawn = traces(pareto(results, target, "latency_ms").figure).values()
    assert not any("text" in trace["mode"] or trace.get("text") for trace in drawn)


def test_the_band_is_one_standard_deviation_wide(results, target):
    shown = traces(pareto(results, target, "latency_ms").figure)
    count = len(target.predicted_front)
    band = [*shown["± one standard deviation"]["y"]]
    upper, lower = band[:count], band[count:][::-1]
    for point, high, low in zip(target.predicted_front, upper, lower, strict=True):
        assert high == pytest.approx(point.error + point.std)
        assert low == pytest.approx(point.error - point.std)


def test_a_cost_over_a_decade_is_logarithmic_and_carries_its_limit(results, target):
    layout = pareto(results, target, "latency_ms").figure.to_plotly_json()["layout"]
    assert layout["xaxis"]["type"] == "log"
    assert layout["shapes"][0]["x0"] == target.limits["latency_ms"]
    expected = math.log10(target.limits["latency_ms"])
    assert layout["annotations"][-1]["x"] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("values", "kind"),
    [((1, 9), "linear"), ((1, 11), "log"), ((0, 100), "linear"), ((), "linear")],
)
def test_axes_are_logarithmic_past_a_decade(values, kind):
    assert View.on(values).kind == kind


@pytest.mark.parametrize("values", [(49.2, 50.8, 52.4), (0.03, 0.2, 8.0), (0.0,), (3.0, 3.0)])
def test_values_fill_their_axis_with_a_little_room_at_the_ends(values):
    view = View.on(values)
    assert all(map(view.holds, values))
    low, high = view.axis["range"]
    ends = [min(values), max(values)]
    first, last = map(math.log10, ends) if view.kind == "log" else ends
    assert low < first <= last < high
    assert first == last or last - first > 0.8 * (high - low)


def test_subnets_that_cannot_run_are_left_out(results, target):
    costs = {"latency_ms": (math.inf, *target.costs["latency_ms"][1:])}
    shown = traces(pareto(results, replace(target, costs=costs), "latency_ms").figure)
    assert len(shown["evaluated subnets"]["x"]) == len(results.evaluated) - 1


def test_a_front_of_several_objectives_draws_only_what_leads_in_this_plane(results, target):
    far = replace(target.front[0], error=99.0, costs={"latency_ms": 1e3, "model_bytes": 1.0})
    shown = traces(
        pareto(results, replace(target, front=(*target.front, far)), "latency_ms").figure
    )
    assert 99.0 not in shown["measured front"]["y"]


def test_three_objectives_are_two_axes_and_a_colour(target):
    endless = replace(target.front[0], costs={"latency_ms": math.inf, "model_bytes": 1.0})
    shown = traces(
        plane(CLASSES, replace(target, front=(*target.front, endless)), "latency_ms", "model_bytes")
    )
    front = shown["measured front"]
    expected = [(p.costs["latency_ms"], p.costs["model_bytes"], p.error) for p in target.front]
    assert [*zip(front["x"], front["y"], front["marker"]["color"], strict=True)] == expected


def test_pareto_of_nothing_is_empty(results, target):
    bare = replace(
        target, costs={}, front=(), predicted_front=(), references=(), chosen=None, limits={}
    )
    assert all(
        not trace["x"] for trace in traces(pareto(results, bare, "latency_ms").figure).values()
    )


def test_the_view_stays_on_the_front_and_says_what_it_leaves_out(results, target):
    far = replace(results.evaluated[0], metrics={"error": 500.0})
    rest = (replace(p, metrics={"error": target.front[0].error}) for p in results.evaluated[1:])
    bare = replace(target, predicted_front=())
    drawn = pareto(replace(results, evaluated=(far, *rest)), bare, "latency_ms")
    low, high = drawn.figure.to_plotly_json()["layout"]["yaxis"]["range"]
    assert 0 < low < min(p.error for p in target.front)
    assert high < 100
    assert drawn.aside.startswith("Outside of this view lie 1 evaluated subnet and full precision")


def test_a_reference_of_a_far_higher_cost_leaves_the_view_to_the_front(results, target):
    dear = replace(target.references[1], costs={"latency_ms": 1e3})
    drawn = pareto(results, replace(target, references=(target.references[0], dear)), "latency_ms")
    assert 10 ** drawn.figure.to_plotly_json()["layout"]["xaxis"]["range"][1] < 1e3
    assert f"{dear.name} (1,000 ms, {dear.error:.2f} %)" in drawn.aside


def test_hypervolume_is_drawn_over_evaluations(target):
    line = traces(plots.hypervolume(target))["hypervolume"]
    assert [*line["x"]] == [point.evaluations for point in target.hypervolume]
    assert [*line["y"]] == [point.share for point in target.hypervolume]


def test_predicted_errors_pair_only_what_was_predicted(results):
    points = (
        Point((0,), 0, {"error": 4.0}),
        Point((1,), 1, {"error": 3.0}, Estimate(3.5, 0.2)),
        Point((2,), 2, {"error": math.nan}, Estimate(3.5, 0.2)),
    )
    pairs = plots.predicted_errors(replace(results, evaluated=points))
    assert pairs == [(Estimate(3.5, 0.2), Estimate(3.0))]


def test_agreement_has_its_diagonal_and_its_spreads():
    pairs = [(Estimate(1.0, 0.1), Estimate(1.2)), (Estimate(2.0, 0.3), Estimate(1.9))]
    shown = traces(plots.agreement(CLASSES, "error", pairs))
    assert shown["equal"]["x"] == shown["equal"]["y"]
    assert ([*shown["subnets"]["x"]], [*shown["subnets"]["y"]]) == ([1.0, 2.0], [1.2, 1.9])
    assert [*shown["subnets"]["error_x"]["array"]] == [0.1, 0.3]
    assert shown["subnets"]["error_y"]["visible"] is False


def test_proxies_are_ordered_by_how_well_they_ranked():
    ranks = {"synflow": ProxyRank("higher", 0.2, 9), "macs": ProxyRank("higher", 0.6, 9)}
    bars = traces(plots.proxies(ranks))["Kendall tau"]
    assert [*bars["y"]] == ["synflow", "macs"]
    assert [*bars["x"]] == [0.2, 0.6]


def test_proxies_are_told_with_their_intervals_and_the_subnets_they_were_judged_on():
    bar = traces(plots.proxies({"macs": ProxyRank("higher", 1.0, 3)}))["Kendall tau"]
    low, high = tau_interval(1.0, 3)
    assert low < 0 < high == pytest.approx(1.0)
    assert [*bar["customdata"]] == [f"{low:.2f} to 1.00, 3 subnets, higher is better"]
    assert [*bar["error_x"]["arrayminus"]] == pytest.approx([1.0 - low])
    assert [*bar["error_x"]["array"]] == pytest.approx([0.0])


def test_figures_of_proxies_stand_right_of_their_intervals_and_not_on_the_names():
    ranks = {"worse": ProxyRank("higher", -0.95, 90), "macs": ProxyRank("higher", 0.6, 9)}
    shown = traces(plots.proxies(ranks))["figures"]
    assert [*shown["x"]] == [0.0, tau_interval(0.6, 9)[1]]
    assert [*shown["text"]] == [" -0.95", " 0.60"]


def test_the_loss_is_one_line_per_phase():
    curve = (LossPoint(1, 2.0, "full precision"), LossPoint(2, 1.0, "elastic"))
    shown = traces(plots.loss_curve(TrainingSummary(10.0, 2, curve)))
    assert {name: [*line["y"]] for name, line in shown.items()} == {
        "full precision": [2.0],
        "elastic": [1.0],
    }


LAYERS = (
    LayerPolicy("stem", "Conv2d", 16, 3, "int8", "float", 100.0),
    LayerPolicy("stage0.a", "Conv2d", 32, 5, "int4", "uint8", 200.0),
    LayerPolicy("stage0.b", "Conv2d", 24, (1, 3), "int4", "uint4", 100.0),
    LayerPolicy("head", "Linear", 10, None, "int8", "uint8", 0.0),
)


def test_the_policy_draws_width_kernel_and_bits():
    shown = traces(policy(LAYERS))
    four = shown["4 bits"]
    assert ([*four["x"]], [*four["y"]], [*four["text"]]) == ([1, 2], [32, 24], ["5", "1x3"])
    assert four["marker"]["color"] == bits_colour(4)
    assert [*shown["8 bits"]["text"]] == ["3", ""]
    assert [*shown["activations: 8 bits"]["x"]] == [1, 3]
    assert [*shown["activations: full precision"]["text"]] == ["fp"]
    assert [*shown["weights: 4 bits"]["x"]] == [1, 2]
    assert [*shown["share of MACs"]["y"]] == [0.25, 0.5, 0.25, 0.0]


def test_bars_of_a_precision_that_only_far_layers_have_are_as_narrow_as_all():
    far = LayerPolicy("tail", "Linear", 10, None, "int2", "uint8", 1.0)
    drawn = policy((replace(far, address="start"), *LAYERS, far)).to_plotly_json()["data"]
    assert {bar["width"] for bar in drawn} == {0.88}


def test_every_bit_width_is_in_the_legend_once():
    named = [t["name"] for t in policy(LAYERS).to_plotly_json()["data"] if t["showlegend"]]
    assert named == ["4 bits", "8 bits", "full precision"]


def test_layers_are_grouped_by_stage_and_named_in_short():
    addresses = [layer.address for layer in LAYERS]
    spans = [(group.name, group.first, group.last) for group in groups(addresses)]
    assert spans == [("stem", 0, 0), ("stage0", 1, 2), ("head", 3, 3)]
    ticks = policy(LAYERS).to_plotly_json()["layout"]["xaxis"]["ticktext"]
    assert [*ticks] == ["stem", "a", "b", "head"]


@pytest.mark.parametrize("count", [10, 80])
def test_the_policy_draws_networks_of_any_depth(count):
    layers = [
        LayerPolicy(f"s{i // 9}.l{i}", "Conv2d", 8, 3, "int8", "uint8", 1.0) for i in range(count)
    ]
    assert len(traces(policy(layers))["8 bits"]["x"]) == count


def test_formats_of_as_many_bits_are_told_apart():
    named = ("int8", "e4m3", "int4-per-group-32")
    layers = [LayerPolicy(name, "Linear", 8, None, name, "uint8", 1.0) for name in named]
    found = traces(policy(layers))
    assert [list(found[name]["x"]) for name in ("8 bits", "e4m3", "int4-per-group-32")] == [
        [0],
        [1],
        [2],
    ]
    assert "shape" in found["e4m3"]["marker"]["pattern"]
    assert "pattern" not in found["8 bits"]["marker"]
