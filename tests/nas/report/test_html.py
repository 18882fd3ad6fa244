import base64
import gzip
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources

import plotly.graph_objects as go
import pytest
from plotly.offline import get_plotlyjs_version

from nas.report.data import FigureOrigin
from nas.report.figure_table import figure_table
from nas.report.html import html, render
from nas.report.markup import Markup, html_of, table, tag
from nas.report.sections import anchor
from nas.report.store import from_json, to_json
from nas.report.subnets import LayerPolicy
from nas.report.text import quantity
from tests.nas.report.sample import unfinished

EVIL = "<script>alert('x')</script>\x1b[31m\u202e\u200b\x00"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Reader(HTMLParser):
    """Collects tags and visible text, and insists that every element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.text, self.data = [], [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "script":
            self.data.append((self.open[-1][1], data))
        elif self.open and self.open[-1][0] != "style":
            self.text.append(data)


@pytest.fixture(scope="module")
def page(results):
    return html(results)


def test_the_report_speaks_of_every_target(results, page):
    reader = Reader(page)
    headings = {attrs.get("id") for tag, attrs in reader.tags if tag == "h2"}
    text = " ".join(reader.text)
    for target in results.targets:
        assert anchor(target) in headings
        assert target.provenance.device in text
    assert results.targets[1].notes[0] in text


def test_every_pair_of_costs_has_a_figure_of_its_own(results):
    first = replace(results.targets[0], objectives=("latency_ms", "model_bytes", "macs"))
    text = " ".join(Reader(html(replace(results, targets=(first,)))).text)
    for name in ("model size", "macs"):
        assert f"Error over latency and {name}" in text
    assert "Error over model size and macs" in text


def test_the_summary_comes_first(page):
    assert next(a["id"] for t, a in Reader(page).tags if t == "h2") == "summary"


def test_the_report_needs_nothing_from_outside(page):
    reader = Reader(page)
    for name, attrs in reader.tags:
        assert "src" not in attrs
        assert name not in ("link", "iframe", "img")
        if "href" in attrs:
            assert attrs["href"].startswith("#")
    ours = "".join(data for attrs, data in reader.data if attrs.get("id") != "plotly")
    assert "http" not in ours + " ".join(reader.text)
    assert "@import" not in page[: page.index("<body>")]
    assert "default-src 'none'" in page


def test_plotly_is_embedded_once(page):
    (packed,) = (data for attrs, data in Reader(page).data if attrs.get("id") == "plotly")
    script = gzip.decompress(base64.b64decode(packed)).decode()
    assert script.startswith("/**\n* plotly.js (basic")
    assert len(page) < 1.5e6


def test_the_library_of_the_page_is_of_the_age_of_the_one_that_makes_the_figures():
    script = resources.files("nas.report").joinpath("plotly-basic.min.js").read_text()
    (major,) = re.findall(r"plotly.js \(basic - minified\) v(\d+)\.", script)
    assert major == get_plotlyjs_version().partition(".")[0]


def test_every_figure_is_told_by_a_table(results, page):
    reader = Reader(page)
    captions = {attrs["id"] for tag, attrs in reader.tags if tag == "figcaption"}
    drawn = [attrs for _, attrs in reader.tags if attrs.get("class") == "plot"]
    assert {attrs["aria-describedby"] for attrs in drawn} == captions
    told = " ".join(reader.text).count("The figure as a table")
    layers = " ".join(reader.text).count("Layers as a table")
    assert (told, layers) == (len(drawn) - len(results.targets), len(results.targets))


def test_a_table_of_a_figure_has_its_series_and_numbers():
    figure = go.Figure(go.Scatter(name="a &lt; b", x=[1.0, 2.0], y=[0.5, math.inf]))
    figure.add_scatter(name="help", x=[0.0], y=[0.0], hoverinfo="skip")
    figure.update_layout(xaxis={"title": "Latency (ms)"}, yaxis={"title": "Error"})
    shown = figure_table(figure.to_plotly_json())
    for cell in ("a &lt; b", "Latency (ms)", ">1.000<", ">0.5000<", ">—<"):
        assert cell in shown
    assert "help" not in shown
    assert figure_table({"data": [], "layout": {}}) == ""


def test_long_series_are_thinned_and_keep_their_ends():
    figure = go.Figure(go.Scatter(name="loss", x=[*range(1000)], y=[*range(1000)]))
    shown = figure_table(figure.to_plotly_json())
    assert shown.count("<tr>") == 201
    assert ">0<" in shown
    assert ">999.0<" in shown
    assert "200 points at most" in shown


def test_links_lead_somewhere(page):
    tags = Reader(page).tags
    places = {attrs["id"] for _, attrs in tags if "id" in attrs}
    assert len([attrs for _, attrs in tags if "id" in attrs]) == len(places)
    assert {a["href"][1:] for t, a in tags if t == "a"} <= places


def test_every_figure_has_its_place_and_its_data(results, page):
    reader = Reader(page)
    data = {
        attrs["data-plot"]: json.loads(text) for attrs, text in reader.data if "data-plot" in attrs
    }
    places = {attrs["id"] for tag, attrs in reader.tags if attrs.get("class") == "plot"}
    assert set(data) == places
    # Per target the front, its growth, the cost checks and the policy; then three of the run.
    assert len(places) == 4 * len(results.targets) + 3
    assert all(set(figure) == {"data", "layout"} for figure in data.values())


def test_names_cannot_inject_markup(results):
    first = results.targets[0]
    layer = LayerPolicy(EVIL, EVIL, 8)
    chosen = replace(first.chosen, layers=(layer,), files=(replace(first.chosen.file, path=EVIL),))
    references = tuple(replace(reference, name=EVIL) for reference in first.references)
    bad = replace(
        results,
        run=EVIL,
        task=EVIL,
        recipe={EVIL: EVIL},
        versions={EVIL: EVIL},
        proxies={EVIL: results.proxies["macs"]},
        figures=(FigureOrigin(EVIL, "measured", EVIL),),
        space=replace(results.space, name=EVIL),
        targets=(
            replace(first, name=EVIL, notes=(EVIL,), chosen=chosen, references=references),
            *results.targets[1:],
        ),
    )
    page = html(bad)
    assert "<script>alert" not in page
    # Inside figures plotly would read tags, so they hold the escaped text.
    plain = "".join(text for attrs, text in Reader(page).data if "data-plot" in attrs)
    assert "alert" in plain
    assert not re.search(r"(?<!\\)\\u(0000|001b|200b|202e)", plain)
    assert not re.search("[\x00\x1b\u200b\u202e]", page)
    assert not re.search(r"\\u003cscript", plain)


def test_figures_hold_gaps_where_a_number_is_not_finite(results):
    curve = (replace(results.training.curve[0], loss=float("nan")), *results.training.curve[1:])
    page = html(replace(results, training=replace(results.training, curve=curve)))
    assert "NaN" not in "".join(text for attrs, text in Reader(page).data if "data-plot" in attrs)


def test_an_unfinished_run_says_so(results):
    page = html(unfinished(results))
    text = " ".join(Reader(page).text)
    assert "This run is unfinished: the supernet is not trained yet." in text
    assert text.count("No subnet is evaluated for this target yet") == len(results.targets)
    assert len(page) < 1e5  # no figures, so no plotly


def test_a_run_amid_its_search_says_how_far_it_is(results):
    text = " ".join(Reader(html(replace(results, budget=1000, targets=()))).text)
    assert "This run is unfinished: 120 of 1,000 subnets are evaluated." in text
    assert "No target has results yet." in text


def test_a_limit_that_nothing_met_is_told(results):
    target = replace(results.targets[0], chosen=None, limits={"latency_ms": 0.001})
    text = " ".join(Reader(html(replace(results, targets=(target,)))).text)
    assert "No subnet is chosen within latency ≤ 0.00100 ms; the front has" in text


def test_predicted_latencies_come_with_their_error(results, page):
    assert "90 % within 3.4%" in page
    without = replace(
        results, targets=tuple(replace(t, latency_band=None) for t in results.targets)
    )
    assert "calibrated on" not in html(without)


def test_memories_of_a_device_are_told_with_what_the_subnet_takes(results, page):
    text = " ".join(Reader(page).text)
    taken = quantity("model_bytes", results.targets[0].chosen.costs["model_bytes"])
    held, ram = quantity("model_bytes", 2e6), quantity("model_bytes", 64e3)
    flash = f"The device has {held} of flash, of which the chosen subnet takes {taken}"
    assert f"{flash}; and {ram} of RAM." in text
    assert "The device has" not in html(unfinished(results))


def test_origins_are_told(results, page):
    text = " ".join(Reader(page).text)
    for word in ("measured", "imported", "analytical", "2.13.0+cpu", "seed 7"):
        assert word in text


def test_a_counted_cost_is_never_called_measured(results):
    target = replace(results.targets[0], name="cpu", objectives=("model_bytes",))
    text = " ".join(Reader(html(replace(results, targets=(target,)))).text)
    assert "Model size is counted" in text
    assert "cpu: model size" not in text


def test_render_replaces_the_file_whole(results, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    render(results, path)
    assert path.read_text(encoding="utf-8") == html(results)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_the_report_is_the_same_from_json_alone(results, page):
    assert html(from_json(to_json(results))) == page


def test_targets_of_similar_names_have_distinct_anchors(results):
    first = results.targets[0]
    names = ("a b", "a-b", "a_b", "ä b", 'a"b')
    assert len({anchor(replace(first, name=name)) for name in names}) == len(names)


def test_markup_escapes_what_is_not_markup():
    assert tag("p", ["1 < 2 ", tag("b", "&")], class_='"x"') == (
        '<p class="&quot;x&quot;">1 &lt; 2 <b>&amp;</b></p>'
    )
    assert html_of(Markup("<i></i>")) == "<i></i>"
    assert '<td class="number">7</td>' in table(["a"], [["7"]], numeric=(0,))
