"""`nas init`: a recipe for a user's data, or a shipped one, that the other commands accept."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nas import parts
from nas.cli.main import app
from nas.drafting.examples import EXAMPLES, SHIPPED
from nas.recipe.recipe import load_recipe
from nas.recipe.table_recipe import load_any_recipe
from tests.nas.runs import assert_refused, nas, succeeded

ROOT = Path(__file__).parents[3]
RECIPES = [name for name, held in EXAMPLES.items() if held.file.endswith(".toml")]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for kind in parts.SHIPPED:  # an example registers parts of its own
        monkeypatch.setitem(parts._registered, kind, {})


def photos(folder: Path, *, mode: str = "RGB", sides: tuple[int, ...] = (20, 28)) -> Path:
    """A folder of 40 images of two classes, of several sizes."""
    image = pytest.importorskip("PIL.Image")
    for number in range(40):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.new(mode, (sides[number % len(sides)],) * 2, number).save(path)
    return folder


def arrays(path: Path, targets: np.ndarray, shape: tuple[int, ...] = (5,)) -> Path:
    inputs = np.random.default_rng(0).normal(size=(len(targets), *shape))
    np.savez(path, x_train=inputs, y_train=targets)
    return path


def drafted(*words: str | Path) -> dict:
    """The recipe that `nas init` writes without a question, which the engine accepts."""
    done = nas("init", *words, "--yes")
    succeeded(done)
    (written,) = Path().glob("*.toml")
    assert str(written) in done.out
    assert load_recipe(written).name == written.stem
    return tomllib.loads(written.read_text())


def test_a_folder_of_photos_of_several_sizes():
    made = drafted(photos(Path("photos")))
    assert made["task"]["kind"] == "folder"
    assert made["task"]["image_size"] == 24  # not larger than most images
    assert made["task"]["augment"] == {"shift": 3, "flip": True}
    assert made["space"]["family"] == "residual"
    # The run folder would be the folder of the data.
    assert Path("photos-search.toml").exists()


def test_all_damaged_photos_are_named():
    folder = photos(Path("photos"))
    for name in ("a/0.png", "b/1.png"):
        (folder / name).write_text("no image")
    refused = nas("init", folder, "--yes")
    assert refused.code == 1
    assert "2 in all: a/0.png (of no known format), b/1.png" in refused.err


def test_grey_images_of_one_size_stay_as_they_are():
    made = drafted(photos(Path("signs"), mode="L", sides=(16,)))
    assert "image_size" not in made["task"]
    assert made["task"]["channels"] == 1
    assert not made["task"]["augment"]["flip"]


@pytest.mark.parametrize(
    ("shape", "family", "targets"),
    [
        ((12, 12), "residual", np.arange(60) % 3),
        ((5,), "mlp", np.arange(60) % 3),
        ((5,), "mlp", np.linspace(0, 700.5, 60)),
    ],
    ids=["images", "features", "values"],
)
def test_arrays(shape, family, targets):
    made = drafted(arrays(Path("mine.npz"), targets, shape))
    assert made["space"]["family"] == family
    spread = targets[:].std() * 0.02
    expected = 0.5 if targets.max() == 2 else pytest.approx(spread, rel=0.2)
    assert made["targets"] == [{"name": "this-cpu", "tolerance": expected}]


def test_a_table_of_texts():
    rows = (f"{n},what {'a good' if n % 2 else 'no'} story of ships,{n % 2}\n" for n in range(60))
    Path("reviews.csv").write_text("id,review,stars\n" + "".join(rows))
    made = drafted("reviews.csv", "--set", "task.tokenizer={kind='byte'}")
    assert (made["task"]["text"], made["task"]["label"]) == ("review", "stars")
    assert made["task"]["tokenizer"] == {"kind": "byte"}
    assert made["space"]["family"] == "transformer-encoder"


def test_a_table_of_measured_values():
    rows = (
        f"{n};{n % 7 / 4:g};{n % 5};{'fm'[n % 2]};no {n};{'abc'[n % 3]}\n".replace(".", ",")
        for n in range(60)
    )
    Path("flowers.csv").write_text("row;length;width;sex;name;class\n" + "".join(rows))
    made = drafted("flowers.csv")
    assert made["task"]["kind"] == "features"
    assert (made["task"]["label"], made["task"]["categories"]) == ("class", ["sex"])
    assert made["task"]["leave_out"] == ["name", "row"]  # these say nothing of a flower
    assert made["space"]["family"] == "mlp"


def test_a_text():
    Path("book.txt").write_text("It was the best of times.\n" * 200)
    assert drafted("book.txt")["space"]["family"] == "language-model"


def test_answers_given_as_options_win():
    asked = ("--set", "task.image_size=16", "--set", "search.budget=7", "--out", "my.toml")
    made = drafted(photos(Path("photos")), *asked, "--target", "edge-npu", "--target", "tiny-mcu")
    assert (made["task"]["image_size"], made["search"]["budget"]) == (16, 7)
    assert made["task"]["augment"]["shift"] == 2
    assert [each["name"] for each in made["targets"]] == ["edge-npu", "tiny-mcu"]


def test_a_user_is_asked_until_the_answer_is_allowed(monkeypatch):
    monkeypatch.setattr("nas.cli.prompting.is_terminal", lambda: True)
    path = arrays(Path("doubt.npz"), np.random.default_rng(0).integers(0, 99, 60))
    done = CliRunner().invoke(app, ["init", str(path)], input="perhaps\nregression\nedge-npu\n")
    assert done.exit_code == 0, done.output
    assert "answer one of classes, regression" in done.output
    made = tomllib.loads(Path("doubt.toml").read_text())
    assert made["task"]["target"] == "regression"
    assert [each["name"] for each in made["targets"]] == ["edge-npu"]


def test_what_cannot_be_known_is_refused_where_nobody_is_asked():
    path = arrays(Path("doubt.npz"), np.random.default_rng(0).integers(0, 99, 60))
    assert_refused(nas("init", path, "--yes"), "may be classes or values", "task.target=")
    assert_refused(nas("init", "--yes"), "Where are your data?", "--example")
    Path("two.csv").write_text("one,two,three\na b c d e f,g h i j k l,1\n" * 9)
    assert_refused(nas("init", "two.csv", "--yes"), "Which column", "one, two", "task.text=")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("report.pdf", "x", "no file that a task reads"),
        ("numbers.csv", "a,b\n1,2\n", "Which column holds the classes or values?"),
        ("alone.csv", "a\n1\n", "alone.csv has 1 columns"),
        ("sounds/a.wav", "x", "1 of .wav"),
        ("absent", None, "there is no absent"),
    ],
)
def test_data_of_no_task(name, content, said):
    path = Path(name)
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    assert_refused(nas("init", path.parts[0], "--yes"), said)
    assert not [*Path().glob("*.toml")]


def test_images_without_classes():
    folder = photos(Path("loose"))
    for number, path in enumerate(folder.rglob("*.png")):
        path.rename(folder / f"{number}.png")
    assert_refused(nas("init", folder, "--yes"), "in no folder of a class", "image-pairs")


@pytest.mark.parametrize("word", ["search.bugdet=1", "space.widths=[[3]]", "targets.0.name=none"])
def test_no_recipe_is_written_that_the_engine_refuses(word):
    path = arrays(Path("mine.npz"), np.arange(60) % 3)
    assert nas("init", path, "--yes", "--set", word).code == 1
    assert not Path("mine.toml").exists()


def test_nothing_is_overwritten():
    path = arrays(Path("digits.npz"), np.arange(60) % 3)
    Path("digits.toml").write_text("mine")
    assert_refused(nas("init", path, "--yes"), "digits.toml is there already", "--out")
    assert_refused(nas("init", "--example", "digits"), "digits.toml is there already", "--out")
    assert Path("digits.toml").read_text() == "mine"


@pytest.mark.parametrize("name", RECIPES)
def test_every_example_leaves_the_package_whole(name):
    done = nas("init", "--example", name)
    succeeded(done)
    (recipe,) = (path for path in Path().glob("*.toml") if f"nas run {path}\n" in done.out)
    assert load_any_recipe(recipe)
    missing = tomllib.loads(recipe.read_text()).get("task", {}).get("train")
    assert ("is not there" in done.out) == (missing is not None or name == "cifar10-pairs")


def test_an_example_beside_another_recipe_reads_its_own_files():
    Path("sub").mkdir()
    succeeded(nas("init", "--example", "table", "--out", "sub/nets-run.toml"))
    assert "40 distinct networks" in " ".join(nas("spaces", "sub/nets-run.toml").out.split())


def test_the_shipped_files_are_those_of_the_repository():
    held = {path.relative_to(SHIPPED) for path in SHIPPED.rglob("*") if path.is_file()}
    assert held == {Path(f) for each in EXAMPLES.values() for f in (each.file, *each.others)}
    recipes = {path.name for path in (ROOT / "runs").glob("*.toml")}
    assert recipes == {str(path) for path in held if len(path.parts) == 1}
    for path in held:
        there = ROOT / path if len(path.parts) > 1 else ROOT / "runs" / path
        assert (SHIPPED / path).resolve() == there, path


def test_examples_are_listed_and_others_refused():
    listed = nas("init", "--list")
    succeeded(listed)
    assert all(name in listed.out for name in EXAMPLES)
    assert_refused(nas("init", "--example", "own-model"), "no example 'own-model'", "digits")
    assert_refused(nas("init", "data", "--example", "digits"), "leave them out")
