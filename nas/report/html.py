"""The report as one HTML file that needs no other file and no network."""

from __future__ import annotations

from pathlib import Path

from nas.files.durable import write_atomic
from nas.report import sections
from nas.report.across import comparison
from nas.report.data import Results
from nas.report.data_read import data_section
from nas.report.markup import Markup, html_of, tag
from nas.report.page import Page
from nas.report.running import using_files
from nas.report.targets import target_section


def render(results: Results, path: Path) -> None:
    """Write the report of `results` to `path` in one step; the file has about 5 MB.

    Raises:
        WriteError: If the file cannot be written; an older report is then unchanged.
    """
    write_atomic(path, html(results).encode())


def html(results: Results) -> str:
    """The report as one HTML text; every string of `results` is escaped."""
    page = Page()
    parts = [
        _header(results),
        sections.summary(results),
        comparison(results),
        using_files(results),
        *(target_section(results, target, page) for target in results.targets),
        sections.predictions(results, page),
        data_section(results.data),
        sections.training(results, page),
        sections.origins(results),
    ]
    body = html_of([_navigation(results, parts), tag("main", parts)])
    return page.html(title=f"{results.run}: elastic-nas", body=body)


def _header(results: Results) -> Markup:
    facts = [results.task, f"Seed {results.seed}", results.date]
    line = " · ".join(fact for fact in facts if fact)
    return tag("header", [tag("h1", results.run), tag("p", line, class_="muted")])


def _navigation(results: Results, parts: list[Markup]) -> Markup:
    whole = "".join(parts)
    places = [
        ("summary", "Summary"),
        ("devices", "Devices compared"),
        ("files", "Using the files"),
        *((sections.anchor(target), target.name) for target in results.targets),
        ("predictions", "Predictions"),
        ("data", "Data"),
        ("training", "Space and training"),
        ("origins", "Origins"),
    ]
    there = [(place, name) for place, name in places if f'id="{place}"' in whole]
    return tag("nav", [tag("a", name, href=f"#{place}") for place, name in there])
