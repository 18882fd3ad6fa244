"""The command line: `nas run`, its single steps, and the other commands."""

from __future__ import annotations

import sys
import traceback
import warnings
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, cast

import typer

from nas.cli.archive import archive_app
from nas.cli.fit import fit_command
from nas.cli.import_table import import_table
from nas.cli.init import init_command
from nas.cli.new_target import new_target
from nas.cli.parts import parts_command
from nas.cli.predictors import predictors_app
from nas.cli.profile import profile_command
from nas.cli.search import search_command
from nas.cli.sweep import sweep_command
from nas.cli.targets import targets_app
from nas.cli.transfer import transfer
from nas.cli.trust import Trust
from nas.cli.words import InWords
from nas.terminal.display import Manner, complain, dump_record, lines, manner, say, speak
from nas.terminal.interrupts import Interruptible, loading
from nas.terminal.plain import terminal_display

_STOPPED = (
    "stopped: what was done is kept; the same command goes on from there, with --resume if it has "
    "this option"
)
# The base class of typer's errors about wrong usage, whichever version of click it uses.
_UsageError = cast("type[Exception]", typer.BadParameter.__bases__[0])

app = typer.Typer(
    cls=InWords,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
targets_app.command("new")(new_target)
targets_app.command("import")(import_table)
targets_app.command("transfer")(transfer)
app.add_typer(targets_app, name="targets")
app.add_typer(archive_app, name="archive")
app.add_typer(predictors_app, name="predictors")

RecipePath = Annotated[Path, typer.Argument(help="The recipe, a TOML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", help="KEY=VALUE over the recipe, such as search.budget=400."),
]
Out = Annotated[
    Path | None, typer.Option("--out", help="The run folder; by default one beside the recipe.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in the folder, if any.")]


# Options of every command, which may stand anywhere on the command line.
_EVERYWHERE = ("--debug", "--quiet", "-q", "--json")


def _version(asked: bool) -> None:
    if asked:
        import importlib.metadata  # which takes its time

        say(f"elastic-nas {importlib.metadata.version('elastic-nas')}")
        raise typer.Exit


@app.callback()
def common(
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show results and warnings, but no progress.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Write every message as a line of JSON, for programs.")
    ] = False,
    _debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error as well.")
    ] = False,
    _shown: Annotated[
        bool,
        typer.Option("--version", help="Show the version and stop.", callback=_version),
    ] = False,
) -> None:
    """Search architecture and quantization together: trained once, for every device at once.

    The options --quiet, --json and --debug may also stand behind a command.
    """
    if quiet and json:
        raise typer.BadParameter("give --quiet or --json, not both")
    speak(Manner.QUIET if quiet else Manner.JSON if json else Manner.WORDS)


def expected() -> tuple[type[Exception], ...]:
    """The errors that a user can correct; they are shown as a sentence.

    All other errors are faults of the engine and are shown with their traceback.
    """
    from nas.archive.archive import ArchiveError
    from nas.evaluation.evaluation import EvaluationError
    from nas.export import ExportError
    from nas.files.durable import WriteError
    from nas.own.model import OwnModelError
    from nas.parts import PartError
    from nas.problem.feasibility import ConstraintError
    from nas.recipe.recipe import RecipeError
    from nas.run.folder import RunFolderError
    from nas.tabular import TableError
    from nas.targets import TargetError
    from nas.tasks import TaskError
    from search_spaces.documents import UnreadableFile
    from search_spaces.lookups import SpaceTooLarge
    from search_spaces.names import InvalidName
    from supernets.checkpoint import CheckpointError
    from supernets.tracing import TraceError
    from supernets.training.train import TrainingDiverged

    return (
        *(ArchiveError, WriteError, ExportError, ConstraintError, RunFolderError, RecipeError),
        *(UnreadableFile, EvaluationError, TableError, TargetError, TaskError, CheckpointError),
        *(PartError, InvalidName, TrainingDiverged, SpaceTooLarge, OwnModelError, TraceError),
    )


def _folder(path: Path, name: str, out: Path | None) -> Path:
    return out or path.parent / name


@app.command("run")
def run_command(
    recipe: RecipePath,
    set_: Overrides = None,
    out: Out = None,
    resume: Resume = False,
    _trust: Trust = False,
) -> None:
    """Do everything: profile, train, search, export, report; for a table, search and report."""
    with loading():
        from nas.recipe.table_recipe import load_any_recipe
        from nas.report.summary import told
        from nas.run.folder import RunFolder
        from nas.run.pipeline import run

    made = load_any_recipe(recipe, set_ or ())
    folder = _folder(recipe, made.name, out)
    with terminal_display() as display:
        results = run(made, folder=folder, resume=resume, display=display)
    for part in told(results):
        say(part)
    say(f"report: {RunFolder(folder).report}")


app.command("init")(init_command)
app.command("fit")(fit_command)
app.command("profile")(profile_command)
app.command("search")(search_command)
app.command("sweep")(sweep_command)
app.command("parts")(parts_command)


@app.command()
def train(
    recipe: RecipePath, set_: Overrides = None, out: Out = None, _trust: Trust = False
) -> None:
    """Train a recipe's supernet, or continue its training."""
    _do("train", recipe, overrides=set_ or (), out=out)


@app.command()
def export(
    recipe: RecipePath, set_: Overrides = None, out: Out = None, _trust: Trust = False
) -> None:
    """Choose, export and check one subnet per target; write the report."""
    _do("export", recipe, overrides=set_ or (), out=out)


@app.command()
def switching(
    recipe: RecipePath, set_: Overrides = None, out: Out = None, _trust: Trust = False
) -> None:
    """Export one ONNX file per target that switches bit-widths while it runs, and test each."""
    _do("switching", recipe, overrides=set_ or (), out=out)


def _do(step: str, recipe: Path, *, overrides: Sequence[str], out: Path | None) -> None:
    with loading():
        from nas.recipe.recipe import load_recipe
        from nas.run.pipeline import run_steps

    made = load_recipe(recipe, overrides)
    with terminal_display() as display:
        run_steps(made, [step], folder=_folder(recipe, made.name, out), display=display)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="The page; by default report.html in the folder.")
    ] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Show the page in the web browser of this machine.")
    ] = False,
) -> None:
    """Write report.html again from the results.json of a run folder."""
    with loading():
        from nas.report.html import render
        from nas.report.store import load
        from nas.report.summary import told
        from nas.run.folder import RunFolder, RunFolderError

    files = RunFolder(folder)
    files.require_own()
    if not files.results.exists():
        raise RunFolderError(f"{folder} holds no results.json; `nas run` writes it")
    results, page = load(files.results), out or files.report
    render(results, page)
    for part in told(results):
        say(part)
    say(f"report: {page}")
    if open_ and not webbrowser.open(page.resolve().as_uri()):
        complain(f"no web browser was found on this machine; open {page} in one of yours")


@app.command()
def spaces(
    recipe: RecipePath, set_: Overrides = None, out: Out = None, _trust: Trust = False
) -> None:
    """Show the space that a recipe would search, and how long the run would take."""
    with loading():
        from nas.recipe.model_recipe import ModelRecipe
        from nas.recipe.table_recipe import TableRecipe, load_any_recipe
        from nas.run.folder import RunFolder
        from nas.run.own_plan import own_overview, prepare_own
        from nas.run.pipeline import previewed
        from nas.run.steps.tabulating import prepare_table, table_overview

    made = load_any_recipe(recipe, set_ or ())
    files = RunFolder(_folder(recipe, made.name, out))
    files.require_own()
    if isinstance(made, TableRecipe):
        for table in table_overview(prepare_table(made, files)):
            say(table)
        return
    if isinstance(made, ModelRecipe):
        for part in own_overview(prepare_own(made, files)):
            say(part)
        return
    with terminal_display() as display:
        previewed(made, files, say, display)


def main() -> None:
    """Run the command line; expected errors end in one sentence and exit code 1."""
    given, debug = sys.argv[1:], "--debug" in sys.argv
    arguments = [each for each in given if each in _EVERYWHERE]
    arguments += [each for each in given if each not in _EVERYWHERE]
    speak(Manner.WORDS)
    sys.excepthook = _unexpected
    warnings.formatwarning = _warning
    with Interruptible(_STOPPED):
        try:
            # Calling the application itself would replace our hook for exceptions by typer's.
            command = typer.main.get_command(app)
            code = command(arguments, prog_name="nas", standalone_mode=False)
        except SystemExit:  # of the completion of words; `expected` would load many modules
            raise
        except _UsageError as error:
            _tell_usage(error)
            sys.exit(2)
        except expected() as error:
            if debug:
                complain(traceback.format_exc())
            complain(f"error: {error}")
            if manner() is Manner.JSON:
                dump_record({"error": str(error)})
            sys.exit(1)
        sys.exit(code)


def _tell_usage(error: Any) -> None:
    """Print how a command is called correctly, and what was wrong with the call."""
    if error.ctx is not None:
        complain(f"{error.ctx.get_usage()}; `{error.ctx.command_path} --help` tells more")
    if message := error.format_message():  # empty if only help was asked for
        complain(f"error: {message}")


def _unexpected(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    complain("".join(traceback.format_exception(kind, error, trace)))


def _warning(
    message: Warning | str, category: type[Warning], file: str, line: int, _: str | None = None
) -> str:
    return lines(f"{file}:{line}: {category.__name__}: {message}") + "\n"


if __name__ == "__main__":
    main()
