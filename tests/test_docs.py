"""The documents tell the truth: keys and defaults, links, examples that validate."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer
from pydantic import BaseModel, TypeAdapter
from pydantic_core import PydanticUndefined, to_jsonable_python

from nas.cli.main import app
from nas.cli.targets import schema_text
from nas.export.containers import container_for
from nas.facts import data_facts
from nas.own.options import Channels, Ranks
from nas.parts import Parts
from nas.recipe import model_recipe, recipe, table_recipe
from nas.recipe.sections import SpaceSection, TaskSection
from nas.recipe.sections import section as section_of
from nas.report import data, estimates, subnets
from nas.report import words as words_of_figures
from nas.run.folder import RunFolder
from nas.search.named import SEARCHERS
from nas.tabular import published
from nas.tabular.description import ChoiceSection, Cost, Description
from nas.targets import schema
from nas.targets.table.columns import COLUMNS
from nas.targets.table.csv_file import parse
from nas.tasks import ArraysTask, DigitsTask, FolderTask, OpenMLTask
from nas.tasks.augment import Augment
from nas.tasks.feature_table import FeaturesTask
from nas.tasks.image_pairs import ImagePairsTask
from nas.tasks.images import ImageSection
from nas.tasks.next_token import NextTokenTask
from nas.tasks.section import SplitSection
from nas.tasks.text_classification import TextClassificationTask
from nas.tasks.tokens import ByteSection, WordSection
from search_spaces.formats import Int
from search_spaces.mobilenet import MOBILENET_V3, Stage
from search_spaces.policy import Policy
from search_spaces.quant import Quant

ROOT = Path(__file__).parent.parent
FORMATS = (ROOT / "docs" / "formats.md").read_text()
TABLES_PAGE = (ROOT / "docs" / "tables.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
REQUIRED = object()

# Heading in formats.md -> the type whose keys its table lists, and what another table lists.
TABLES: dict[str, tuple[type, type | None]] = {
    "Top level": (recipe.Recipe, None),
    "task: every kind": (SplitSection, None),
    "task: kinds of image classification": (ImageSection, SplitSection),
    "task.augment": (Augment, None),
    'task: kind = "arrays"': (ArraysTask, ImageSection),
    'task: kind = "folder"': (FolderTask, ImageSection),
    'task: kind = "openml"': (OpenMLTask, ImageSection),
    'task: kind = "features"': (FeaturesTask, SplitSection),
    'task: kind = "text-classification"': (TextClassificationTask, SplitSection),
    'task: kind = "next-token"': (NextTokenTask, SplitSection),
    'task: kind = "image-pairs"': (ImagePairsTask, SplitSection),
    'task.tokenizer: kind = "word"': (WordSection, ByteSection),
    **{
        f'space: family = "{name}"': (section_of(SpaceSection, name), None)
        for name in Parts("space")
    },
    "space.stages": (Stage, None),
    "space.policy": (Policy, None),
    "training": (recipe.TrainingSection, None),
    "targets": (recipe.TargetSection, None),
    "search": (recipe.SearchSection, None),
    "export": (recipe.ExportSection, None),
    "compute": (recipe.ComputeSection, None),
    "table recipe": (table_recipe.TableRecipe, None),
    "table recipe: table": (table_recipe.TableSection, None),
    "table recipe: targets": (table_recipe.TableTargetSection, None),
    "table recipe: search": (table_recipe.TableSearchSection, None),
    "model recipe": (model_recipe.ModelRecipe, None),
    "model recipe: model": (model_recipe.ModelSection, None),
    "model recipe: model.channels": (Channels, None),
    "model recipe: model.ranks": (Ranks, None),
    "model recipe: model.epochs": (model_recipe.TuningSection, None),
    "model recipe: targets": (model_recipe.ModelTargetSection, None),
    "model recipe: search": (model_recipe.ModelSearchSection, None),
    "model recipe: compute": (recipe.EvaluatingSection, None),
    "networks": (Description, None),
    "networks.choices": (ChoiceSection, None),
    "networks: figures": (Cost, None),
    "target": (schema.TargetFile, None),
    "target.supports": (schema.SupportsSection, None),
    "target.cast": (schema.CastSection, None),
    "target.memory": (schema.MemorySection, None),
    "target.transfer": (schema.TransferSection, None),
    "target.roofline": (schema.RooflineSection, None),
    "target.roofline.energy": (schema.EnergySection, None),
}


def section(heading: str) -> str:
    """The text below a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", FORMATS, re.M | re.S)
    assert found is not None, heading
    return found[1]


def rows(text: str) -> dict[str, list[str]]:
    """First cell of every table row -> the other cells."""
    cells = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    return {first.strip("`"): rest for first, *rest in cells}


def defaults(kind: type) -> dict[str, Any]:
    """Key -> default of a model or dataclass; `REQUIRED` where there is none."""
    if issubclass(kind, BaseModel):
        return {
            name: REQUIRED if field.default is PydanticUndefined else field.default
            for name, field in kind.model_fields.items()
        }
    return {
        field.name: REQUIRED if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(kind)
    }


def written(kind: type, name: str, default: Any) -> Any:
    """A default as a file has it."""
    if issubclass(kind, BaseModel):
        return to_jsonable_python(default)
    hint = get_type_hints(kind, include_extras=True)[name]
    return TypeAdapter(hint).dump_python(default, mode="json")


@pytest.mark.parametrize("heading", TABLES)
def test_every_key_is_listed_with_its_default(heading: str) -> None:
    kind, elsewhere = TABLES[heading]
    expected = defaults(kind)
    for name in defaults(elsewhere) if elsewhere else ():
        expected.pop(name)
    listed = rows(section(heading))
    if heading == "task: every kind":
        for name in TaskSection.model_fields:
            listed.pop(name)
    assert set(listed) == set(expected) - ({"kind"} if elsewhere else set())
    for name, (_, stated, *_) in listed.items():
        default = expected[name]
        if default is REQUIRED:
            assert stated == "required", name
        elif default is None:
            assert stated == "none", name
        elif stated.startswith("`"):
            value = tomllib.loads(f"value = {stated.strip('`')}")["value"]
            assert value == written(kind, name, default), name
        else:
            inner = default if isinstance(default, tuple) else (default,)
            assert all(dataclasses.is_dataclass(d) or isinstance(d, BaseModel) for d in inner), name


def test_digits_differ_from_other_tasks_as_stated() -> None:
    held = DigitsTask().validation_fraction
    assert f"`{held}` for digits" in section("task: every kind")
    changed = {k: v for k, v in defaults(DigitsTask).items() if defaults(ImageSection).get(k) != v}
    assert set(changed) == {"validation_fraction"}


def test_the_shipped_stages_are_told() -> None:
    stages = MOBILENET_V3
    text = " ".join(section("space.stages").split())
    assert ", ".join(str(stage.width) for stage in stages) in text
    assert ", ".join(str(stage.stride) for stage in stages) in text
    assert [bool(stage.squeeze_excite) for stage in stages] == [False, True, False, True, True]
    assert [stage.function for stage in stages] == ["relu"] * 2 + ["hardswish"] * 3


def test_every_file_of_a_run_folder_is_listed() -> None:
    folder = RunFolder(Path("run"))
    properties = [name for name, v in vars(RunFolder).items() if isinstance(v, property)]
    paths = [getattr(folder, name) for name in properties]
    names = {path.name for path in paths if isinstance(path, Path)}
    names |= {folder.front("TARGET").name, folder.exported("TARGET").name, ".lock"}
    assert set(rows(section("Run folder"))) == names


def test_every_column_of_a_latency_table_is_listed() -> None:
    listed = [name for cell in rows(section("Latency table")) for name in cell.split("`, `")]
    assert tuple(listed) == COLUMNS
    (example,) = re.findall(r"```csv\n(.*?)```", FORMATS, re.S)
    found, notes, problems = parse(example)
    assert (len(found), sorted(notes), problems) == (2, ["device", "runtime", "threads"], [])


def test_every_field_of_the_results_is_listed() -> None:
    listed = rows(section("Results"))
    records = {cell.split("`")[0]: rest[0] for cell, rest in listed.items()}
    modules = (data, data_facts, estimates, subnets, words_of_figures)
    known = [item for module in modules for item in vars(module).items()]
    kinds = {name: kind for name, kind in known if dataclasses.is_dataclass(kind)}
    assert set(records) == set(kinds)
    for name, kind in kinds.items():
        fields = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)| of .*$", "", records[name]))
        assert fields == [field.name for field in dataclasses.fields(kind)], name


def test_the_committed_schema_is_that_of_the_code() -> None:
    stated = (ROOT / "docs" / "target.schema.json").read_text()
    assert stated == schema_text(), "nas targets schema > docs/target.schema.json"


def test_containers_are_as_stated() -> None:
    text = section("ONNX file")
    held = [container_for(Quant(Int(bits))) for bits in range(2, 9)]
    assert [container.name for container in held] == ["INT2", "INT4", "INT4", *["INT8"] * 4]
    assert [container.opset for container in held] == [25, *[21] * 6]
    for said in ("2 bits | INT2", "3 or 4 bits | INT4", "5 to 8 bits | INT8", "opset 25, else 21"):
        assert said in text


def links() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" not in target:
                yield str(document.relative_to(ROOT)), target


@pytest.mark.parametrize(("document", "target"), [*links()])
def test_every_relative_link_resolves(document: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    linked = (ROOT / document).parent / path if path else ROOT / document
    assert linked.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.M)
        slugs = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}
        assert anchor in slugs


def toml_blocks() -> Iterator[tuple[str, str]]:
    for document in DOCUMENTS:
        for block in re.findall(r"^```toml\n(.*?)^```$", document.read_text(), re.M | re.S):
            yield document.name, block


@pytest.mark.parametrize(("document", "block"), [*toml_blocks()])
def test_every_toml_example_is_allowed(document: str, block: str) -> None:
    content = tomllib.loads(block)
    if "supports" in content:
        assert schema.TargetFile.model_validate(content).name == content["name"]
        return
    if "choices" in content:
        assert Description.model_validate({"name": "nets", **content}).by_device()
        return
    if "table" in content or "model" in content:
        assert table_recipe.validate_any_recipe({"name": "nets", **content}).name == "nets"
        return
    whole = tomllib.loads((ROOT / "runs" / "digits.toml").read_text())
    assert recipe.validate_recipe({"name": "digits", **whole, **content}).name


@pytest.mark.parametrize("path", sorted((ROOT / "runs").glob("*.toml")), ids=lambda path: path.name)
def test_every_recipe_of_ours_is_allowed(path: Path) -> None:
    assert table_recipe.load_any_recipe(path).name == path.stem


def test_commands_in_the_documents_exist() -> None:
    known = {command.name or _name(command.callback) for command in app.registered_commands}
    known |= {str(group.name) for group in app.registered_groups}
    said: set[str] = set()
    for document in DOCUMENTS:
        for words in re.findall(r"(?:^|`)nas ([a-z]+(?: \| [a-z]+)*)", document.read_text(), re.M):
            said.update(words.split(" | "))
    assert said == known


def _name(callback: Any) -> str:
    return callback.__name__


def lines_of_commands() -> Iterator[list[str]]:
    """The words of every line in the documents that begins with `nas`, without its comment."""
    for document in DOCUMENTS:
        whole = document.read_text().replace("\\\n", " ")
        blocks = "\n".join(re.findall(r"```\w*\n(.*?)```", whole, re.S))
        for line in re.findall(r"^nas .*$", blocks, re.M):
            yield shlex.split(line, comments=True)[1:]


@pytest.mark.parametrize("words", [*lines_of_commands()], ids=" ".join)
def test_every_line_of_commands_could_be_typed(words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    known = {option for param in command.params for option in param.opts} | {"--help"}
    for word in words:
        if not word.startswith("-"):
            command = getattr(command, "commands", {}).get(word, command)
        known |= {option for param in command.params for option in param.opts}
    given = {word for word in words if word.startswith("--")}
    assert given <= known
    recipe = next((ROOT / word for word in words if word.startswith("runs/")), None)
    changes = [after for word, after in itertools.pairwise(words) if word == "--set"]
    if recipe is not None and recipe.suffix == ".toml" and words[0] in ("run", "spaces"):
        assert table_recipe.load_any_recipe(recipe, changes)


def test_every_searcher_is_listed():
    named = re.findall(r"`([a-z0-9-]+)`", section("Searchers").split("| --- |")[1])
    assert set(SEARCHERS) <= set(named)
    assert set(rows(section("Predictors"))) == set(Parts("predictor"))


def test_every_published_table_is_listed():
    listed = set(rows(TABLES_PAGE.split("## Published tables")[1]))
    named = re.findall(r"`([a-z0-9-]+)`", rows(section("table recipe: table"))["description"][-1])
    assert listed == set(published()) == set(named)


def test_the_python_example_of_tables_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.search(r"```py\n(.*?)```", TABLES_PAGE, re.S)
    assert found is not None
    monkeypatch.chdir(ROOT)
    defined: dict[str, Any] = {}
    exec(found[1], defined)
    exact = defined["exact"]
    assert exact.volume > 0
    assert len(exact.genotypes) == len(exact.points) > 1


def pages_of(nav: list[Any]) -> Iterator[str]:
    """All pages that an entry of the site's navigation names."""
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_the_site_has_every_page_once() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]
    there = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert sorted(pages_of(site["nav"])) == sorted(there)


def test_the_api_page_names_what_is_there() -> None:
    named = re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(), re.M)
    assert named
    for path in named:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name).__doc__, path


def test_every_extra_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    listed = re.findall(r"`([a-z]+)`", extras_listed())
    assert set(listed) == set(project["optional-dependencies"])


def extras_listed() -> str:
    """The first column of the table of extras."""
    table = (ROOT / "docs" / "install.md").read_text().partition("## Extras")[2]
    return "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
