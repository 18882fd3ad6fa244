"""Bad input ends in one message and leaves a folder in which the next good run works.

Each message says what is wrong, what was given, and what would be right.
"""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nas.profiling import OnnxRuntime
from nas.recipe.recipe import load_recipe
from nas.run.folder import RunFolder
from nas.targets import load_target
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from nas.targets.target_files import DEVICES
from search_spaces.space import SearchSpace
from supernets.checkpoint import save
from supernets.supernet import Supernet
from tests.nas.runs import Outcome, assert_refused, measured, nas, settings, succeeded
from tests.nas.spaces import tiny_space

RECIPE_ERRORS = {
    "search.bugdet=3": ("search.bugdet", "unknown key", "did you mean 'budget'"),
    "task.flip=true": ("task.flip", "unknown key", "limit"),
    "training.epoch=3": ("training.epoch", "unknown key", "float_epochs"),
    "training.epochs=3": ("training: epochs = 3", "float_epochs = 3", "give either"),
    "search.budget=many": ("search.budget", "'many'", "integer"),
    "search.budget=0": ("search.budget = 0", "at least 1"),
    "space.widths=8": ("space.widths = 8", "must be a list"),
    "space.widths=[[8, 4], [8]]": ("space.widths.0 = [8, 4]", "ascending"),
    "space.kernels=[4]": ("space.kernels.0 = 4", "must be odd"),
    "space.depths=[[0, 1]]": ("space.depths.0.0 = 0", "greater than or equal to 1"),
    "space.policy.weight_bits=[1]": ("space.policy.weight_bits.0 = 1", "2"),
    "space.family=vit": ("space.family = 'vit'", "'mobilenet'", "'residual'"),
    "space.widths=[[8]]": ("1 stages", "1 lists of widths"),
    "space.depths=[[1, 65536]]": ("more than 10,000 nodes", "stage0.block", "smaller depths"),
    "task.kind=audio": ("task.kind = 'audio'", "'digits'", "'openml'"),
    "task.limit=7": ("digits", "7 training samples", "raise limit"),
    "task={kind='arrays', path='/none.npz'}": ("/none.npz", "give the path"),
    "training.learning_rate=-1": ("learning_rate", "positive", "-1"),
    "training.batch_size=512": ("batch_size = 512", "128 training samples", "smaller"),
    "training.seed=3": ("training: seed = 3", "the recipe's own seed"),
    "compute.device=tpu": ("compute.device = 'tpu'", "cuda"),
    "compute.device=cuda:99": ("compute.device = 'cuda:99'", "give 'auto' or 'cpu'"),
    "targets=[]": ("targets = []", "at least 1"),
    "targets.0.name=phone": ("'phone'", "bit-serial, datacentre-gpu, edge-npu", ".toml"),
    "targets.0.name=none/phone.toml": ("none/phone.toml", "cannot be read"),
    "targets.0.name=bit-serial": ("distinct names", "bit-serial, bit-serial"),
    "targets.0.objective=joules": (
        "no cost joules",
        "latency_ms, energy_mj",
        "figures of the task: accuracy, top5, ece",
    ),
    "targets.0.objective=ece": ("first objective 'ece'", "cost of the device"),
    "targets.0.objective=['latency_ms', 'accuracy']": ("'accuracy'", "minimises already"),
    "targets.0.limits.accuracy=100": ("limit accuracy = 100", "its best is 100", "less strict"),
    "targets.0.limits.latency_ms=1e-7": ("latency_ms to 1e-07", "no subnet", "raise the limit"),
    "targets.0.limits.latency_ms=-1": ("targets.0.limits.latency_ms = -1", "greater than 0"),
    "targets.7.name=x": ("--set targets.7.name", "2 entries", "0 to 1"),
    "targets.first.name=x": ("--set targets.first.name", "2 entries", "0 to 1"),
    "task.kind.name=x": ("--set task.kind.name", "'kind' holds 'digits'"),
    "budget": ("--set 'budget' is not KEY=VALUE", "search.budget=400"),
    "=3": ("--set '=3' is not KEY=VALUE",),
}


@pytest.mark.parametrize("override", RECIPE_ERRORS)
def test_a_recipe_that_cannot_be_run_is_told_before_any_work(recipe, tmp_path, override):
    folder = tmp_path / "run"
    given = nas("run", recipe, "--out", folder, *settings(override))
    assert_refused(given, *RECIPE_ERRORS[override])
    assert not (folder / "training.safetensors").exists()


def test_a_folder_of_refused_recipes_takes_a_good_one(recipe, tmp_path, finished):
    for bad in ("training.batch_size=512", "targets.0.limits.latency_ms=1e-7"):
        assert_refused(nas("run", recipe, "--out", tmp_path, *settings(bad)))
    succeeded(nas("run", recipe, "--out", tmp_path))
    assert measured(tmp_path) == measured(finished)


def test_every_problem_of_a_recipe_is_told_at_once(recipe, tmp_path):
    both = settings("seed=x", "search.batch=0")
    assert_refused(nas("run", recipe, "--out", tmp_path, *both), "seed = 'x'", "search.batch = 0")


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[task", "is no TOML"),
        (b"\xff\xfe", "line 1: is not UTF-8 text"),
        (b"x = " + b"[" * 3000, "nested more than 64 deep"),
        (b"\nx = " + b"9" * 5000, "line 2: holds a number that is too long"),
        (b"seed = 9" + b"9" * 20, "seed: holds a whole number of more than 64 bits"),
        (b"seed = inf", "must be finite"),
        (b"", "task: missing"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_recipe(tmp_path, content, part):
    path = tmp_path / "r.toml"
    if content is not None:
        path.write_bytes(content)
    assert_refused(nas("run", path), str(path), part)


def test_debug_shows_the_traceback(recipe, tmp_path):
    given = nas("run", recipe, "--out", tmp_path, *settings("seed=x"), "--debug")
    assert given.code == 1
    assert "Traceback" in given.err
    assert "error: " in given.err


# Run folders that are not as a run left them


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garble(path: Path) -> None:
    path.write_bytes(b"\x93garbage\n")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def garble_middle_line(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b'{"op_code": 4, "wor\n'
    path.write_bytes(b"".join(lines))


def change_digit(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"state":1', b'"state":3')
    path.write_bytes(b"".join(lines))


def of_another_space(path: Path) -> None:
    save(Supernet(tiny_space(), seed=0), path)


def name_a_node_like_code(path: Path) -> None:
    hostile = json.dumps('stem" if print("ran") else "stem')
    path.write_text(path.read_text().replace('"stem"', hostile))


def replace_by_list(path: Path) -> None:
    path.write_text("[]")


def first_score_is_none(path: Path) -> None:
    stored = json.loads(path.read_text())
    next(iter(stored["scores"].values()))[0] = float("nan")
    path.write_text(json.dumps(stored))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGE: list[tuple[str, Callable[[Path], None], tuple[str, ...]]] = [
    ("supernet.safetensors", cut, ("cannot be read", "delete it")),
    ("supernet.safetensors", empty, ("cannot be read", "delete it")),
    ("supernet.safetensors", of_another_space, ("holds space", "expected")),
    ("archive.journal", garble_middle_line, ("damaged in line 4", "no JSON", "head -n 3")),
    ("archive.journal", change_digit, ("damaged in line 4", "digest", "head -n 3")),
    ("archive.journal", garble, ("not an archive",)),
    ("probe.json", cut, ("probe of this space", "delete it")),
    ("probe.json", replace_by_list, ("probe of this space", "delete it")),
    ("probe.json", make_folder, ("probe of this space", "delete it")),
    ("probe.json", first_score_is_none, ("scores.", "must be a number", "delete it")),
    ("space.json", cut, ("search space", "is no JSON", "delete it")),
    ("space.json", name_a_node_like_code, ("a node's address must be letters", "delete it")),
    ("space.json", replace_by_list, ("search space", "must be an object", "delete it")),
    ("training.json", cut, ("record of a training", "delete it")),
    ("training.json", replace_by_list, ("record of a training", "delete it")),
]


@pytest.mark.parametrize(("name", "damage", "parts"), DAMAGE)
def test_damage_in_a_run_folder_is_named_and_once_removed_the_run_goes_on(
    recipe, finished, folder, name, damage, parts
):
    path = folder / name
    damage(path)
    assert_refused(nas("run", recipe, "--out", folder, "--resume"), str(path), *parts)
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()
    succeeded(nas("run", recipe, "--out", folder, "--resume"))
    assert measured(folder) == measured(finished)


def test_what_the_message_says_repairs_an_archive(recipe, finished, folder):
    path = folder / "archive.journal"
    garble_middle_line(path)
    assert_refused(nas("run", recipe, "--out", folder, "--resume"), "head -n 3")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    succeeded(nas("run", recipe, "--out", folder, "--resume"))
    assert measured(folder) == measured(finished)


def test_a_torn_end_of_the_archive_costs_one_evaluation(recipe, finished, folder):
    path = folder / "archive.journal"
    path.write_bytes(path.read_bytes()[:-20])
    assert nas("run", recipe, "--out", folder, "--resume").code == 0
    assert measured(folder) == measured(finished)


@pytest.mark.parametrize("damage", [cut, garble, empty, replace_by_list, Path.unlink, make_folder])
def test_a_folder_whose_recipe_is_damaged_is_not_guessed_at(recipe, folder, damage):
    damage(folder / "recipe.json")
    assert_refused(
        nas("run", recipe, "--out", folder, "--resume"), "recipe.json", "remove the folder"
    )


@pytest.mark.parametrize("damage", [cut, garble, empty])
def test_damaged_results_are_named_and_written_anew(recipe, folder, damage):
    damage(folder / "results.json")
    assert_refused(nas("report", folder), str(folder / "results.json"), "--resume")
    succeeded(nas("run", recipe, "--out", folder, "--resume"))
    succeeded(nas("report", folder))


def test_a_damaged_training_state(recipe, finished, folder):
    for name in ("supernet.safetensors", "probe.json", "archive.journal"):
        (folder / name).unlink()
    (folder / "training.safetensors").write_bytes(b"half")
    given = nas("run", recipe, "--out", folder, "--resume")
    assert_refused(given, "training.safetensors", "cannot be read", "delete it")
    (folder / "training.safetensors").unlink()
    succeeded(nas("run", recipe, "--out", folder, "--resume"))
    assert measured(folder) == measured(finished)


def test_leftovers_of_killed_writers_go(recipe, finished, folder):
    (folder / f".results.json.{'0a' * 16}.part").write_text("half")
    (folder / f".edge-npu.torch.{'0b' * 16}.old.part").mkdir()
    (folder / ".archive.journal.part").write_text("half")
    (folder / ".supernet.safetensors.partial").write_text("half")
    succeeded(nas("run", recipe, "--out", folder, "--resume"))
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in finished.iterdir())


# Folders and who may use them


def test_a_folder_that_holds_a_run_is_not_overwritten(recipe, folder):
    assert_refused(nas("run", recipe, "--out", folder), "already holds a run", "--resume", "--out")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("seed=1", "seed"),
        ("training.learning_rate=0.02", "training"),
        ("space.kernels=[3, 5]", "space"),
        ("task.limit=256", "task"),
        ("search.validation_samples=50", "search.validation_samples"),
    ],
)
def test_a_run_is_not_resumed_as_another(recipe, finished, folder, override, key):
    given = nas("run", recipe, "--out", folder, "--resume", *settings(override))
    assert_refused(given, f"another {key},", f"restore {key}", "--out")
    assert measured(folder) == measured(finished)


@pytest.mark.parametrize("override", ["training.checkpoint_seconds=9", "targets.1.tolerance=3"])
def test_what_made_nothing_may_change(recipe, finished, folder, override):
    succeeded(nas("run", recipe, "--out", folder, "--resume", *settings(override)))
    assert measured(folder) == measured(finished)


def test_a_second_process_in_the_same_folder_is_refused(recipe, folder):
    with RunFolder(folder).open(load_recipe(recipe), resume=True):
        given = nas("run", recipe, "--out", folder, "--resume")
    assert_refused(given, "another process", str(folder), "--out")
    succeeded(nas("run", recipe, "--out", folder, "--resume"))


@pytest.mark.parametrize("place", ["file/run", "file", "proc"])
def test_a_folder_that_cannot_be_made(recipe, tmp_path, place):
    (tmp_path / "file").write_text("")
    folder = Path("/proc/none") if place == "proc" else tmp_path / place
    assert_refused(
        nas("run", recipe, "--out", folder), "cannot write the run folder", str(folder), "--out"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(recipe, tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    given = nas("run", recipe, "--out", tmp_path / "run")
    assert_refused(given, "cannot write the run folder", "Permission denied", "--out")


# Disks without room


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes, as on a disk that fills up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


FULL = {"recipe.json": 400, "training.safetensors": 20_000, "archive.journal": 9_000}
FULL |= {"results.json": 20_000, "report.html": 500_000}


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_stops_a_run_that_goes_on_when_there_is_room(recipe, finished, folder, name):
    files = ["report.html", "results.json", "archive.journal", "supernet.safetensors"]
    made_later = {"recipe.json": 4, "training.safetensors": 4, "archive.journal": 3}
    for file in files[: made_later.get(name, 2)]:
        (folder / file).unlink()
    with largest_file(FULL[name]):
        given = nas("run", recipe, "--out", folder, "--resume")
    assert_refused(given, "cannot write", name, "File too large")
    succeeded(nas("run", recipe, "--out", folder, "--resume"))
    assert measured(folder) == measured(finished)
    assert sorted(p.name for p in folder.iterdir()) == sorted(p.name for p in finished.iterdir())


def test_a_full_disk_is_called_so(recipe, tmp_path, monkeypatch):
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    assert_refused(
        nas("run", recipe, "--out", tmp_path), "No space left on device", "free some space"
    )


# Training that diverges


def test_divergence_is_told_and_the_folder_takes_a_lower_rate(recipe, finished, tmp_path):
    given = nas("run", recipe, "--out", tmp_path, *settings("training.learning_rate=1e6"))
    assert_refused(given, "diverged at step", "lower learning_rate from 1e+06")
    succeeded(nas("run", recipe, "--out", tmp_path))
    assert measured(tmp_path) == measured(finished)


# Tables of a device of one's own


@pytest.fixture
def board(finished: Path, tmp_path: Path) -> Path:
    """The target file of a board of one's own; its table has a made-up row for every kernel."""
    described = (DEVICES / "this-cpu.toml").read_text().replace("this-cpu", "board")
    (tmp_path / "board.toml").write_text(described.replace('"measured"', '"imported"'))
    space = SearchSpace.from_json((finished / "space.json").read_text())
    cpu = load_target("this-cpu")
    rows = {KernelKey.of(*kernel): Row(0.01, 0.001, 9) for kernel in cpu.natively(space)}
    noted = OnnxRuntime(eight_bit_weights=cpu.eight_bit_weights).conditions()
    LatencyTable(rows, noted).write(tmp_path / "board.csv")
    return tmp_path / "board.toml"


def run_for(board: Path, recipe: Path) -> Outcome:
    only = settings(f"targets=[{{name='{board}'}}]")
    return nas("run", recipe, "--out", board.parent / "run", *only)


def rows_of(board: Path, changed: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of a board's table; its rows are the last ones."""
    table = board.with_suffix(".csv")
    table.write_text("\n".join(changed(table.read_text().splitlines())) + "\n")


TABLES: dict[str, tuple[Callable[[list[str]], list[str]], tuple[str, ...]]] = {
    "missing rows": (lambda rows: rows[:-3], ("no row for", "Linear", "add them to")),
    "negative": (lambda rows: [*rows[:-1], rows[-1].replace("0.01,", "-0.01,")], ("'-0.01'",)),
    "no number": (lambda rows: [*rows[:-1], rows[-1].replace("0.01,", "fast,")], ("'fast'",)),
    "nan": (
        lambda rows: [*rows[:-1], rows[-1].replace("0.01,", "nan,")],
        ("'nan'", "must be a number"),
    ),
    "short": (lambda rows: [*rows[:-1], rows[-1][:12]], ("values for", "columns")),
    "repeated": (lambda rows: [*rows, rows[-1]], ("repeats the kernel of line",)),
    "headless": (lambda rows: [row for row in rows if "latency_ms" not in row], ("columns",)),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_read_with_care(recipe, board, kind):
    changed, parts = TABLES[kind]
    whole = board.with_suffix(".csv").read_text()
    rows_of(board, changed)
    assert_refused(run_for(board, recipe), "board.csv", *parts)
    assert not (board.parent / "run" / "training.safetensors").exists()
    board.with_suffix(".csv").write_text(whole)
    succeeded(nas("spaces", recipe, *settings(f"targets=[{{name='{board}'}}]")))


def test_a_table_that_is_not_there(recipe, board):
    board.with_suffix(".csv").unlink()
    assert_refused(run_for(board, recipe), "there is no file", "board.csv; write it")


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('otherwise = "container"', 'otherwise = "maybe"', ("otherwise = 'maybe'", "'container'")),
        ('"Linear"]', '"Lineal"]', ("no such operator", "Linear")),
        ('runtime = "', 'runtimes = "', ("runtimes: no such key", "runtime: missing")),
        ('"int8xint8"', '"int8by8"', ("'int8by8'", "int4xint8")),
        ("[[supports]]", "[supports", ("is no TOML", "line 22")),
    ],
)
def test_a_target_file_is_read_with_care(recipe, board, old, new, parts):
    board.write_text(board.read_text().replace(old, new, 1))
    assert_refused(run_for(board, recipe), "board.toml", *parts)


@pytest.mark.parametrize("content", [b"\x93PNG\n", b"operator,kernel\nConv2d,3\n"])
def test_this_machines_table_is_read_with_care(recipe, tmp_path, content):
    (tmp_path / "this-cpu.csv").write_bytes(content)
    given = nas("run", recipe, "--out", tmp_path, *settings("targets=[{name='this-cpu'}]"))
    assert_refused(given, "this-cpu.csv")


def test_a_limit_that_only_all_targets_together_miss(recipe, tmp_path):
    both = settings("targets.0.limits={latency_ms=0.02, model_bytes=1}")
    assert_refused(nas("run", recipe, "--out", tmp_path, *both), "no subnet", "raise the limit")
