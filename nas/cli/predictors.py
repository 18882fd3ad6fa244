"""The command `nas predictors`: judges predictors on networks that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nas.cli.trust import Trust
from nas.parts import Parts
from nas.terminal.display import TerminalTable, say
from nas.terminal.interrupts import loading

predictors_app = typer.Typer(help="How well losses are predicted.", no_args_is_help=True)


@predictors_app.callback()
def _group() -> None:
    """How well losses are predicted."""


@predictors_app.command()
def bench(
    source: Annotated[
        str,
        typer.Argument(metavar="RUN_OR_TABLE", help="A run folder, a .toml table, or its name."),
    ],
    predictors: Annotated[
        list[str] | None, typer.Option("--predictor", help="A predictor; else all are judged.")
    ] = None,
    sizes: Annotated[
        list[int] | None,
        typer.Option("--size", help="Networks to learn from; else 25, 50, 100 and 250."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Random draws to average over.")] = 3,
    data: Annotated[Path | None, typer.Option(help="The folder of the table's files.")] = None,
    named: Annotated[
        list[str] | None,
        typer.Option("--named", help="A database or target of a run's recipe to be opened."),
    ] = None,
    _trust: Trust = False,
) -> None:
    """Judge predictors: each learns a few networks of a run or a table and predicts the others.

    Beside them stand the costs as rankings of the networks, dearest first. A row tells Kendall's
    tau over all networks and within five bins of about equal first cost, the explained share of
    the variance, and the share of losses inside the 90 % intervals: of all networks, and of the
    best tenth.
    """
    with loading():
        from nas.run.predictor_bench import bench as rows_of
        from nas.run.predictor_bench import networks_of

    names = predictors or list(Parts("predictor"))
    for name in names:
        Parts("predictor").entry(name)
    networks = networks_of(source, data=data, named=named or ())
    learned = networks.sizes(sizes or ())
    heads = ("predictor", "learned", "tau", "in bins", "R2", "held", "of best")
    table = TerminalTable(heads, numeric=range(1, len(heads)))
    for row in rows_of(networks, names, sizes=learned, seeds=range(seeds)):
        found = row.judgement
        shares = (found.tau, found.within, found.r2, found.held, found.held_best)
        table.add_row(row.name, str(row.size or ""), *(_plain(share) for share in shares))
    say(table)
    say(f"{len(networks.rows)} networks; {seeds} draws; {networks.note or 'all measured'}")


def _plain(share: float) -> str:
    return "" if share != share else f"{share:.3f}"  # NaN
