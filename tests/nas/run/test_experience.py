"""Learning from a run that searched another space."""

import json
import shutil

import numpy as np
import pytest

from nas.problem.front import nondominated
from nas.problem.goals import Problem
from nas.run.experience import Experience, kept
from nas.run.folder import RunFolder
from nas.testing.searcher import chain, picked, problem_of, rugged
from search_spaces.documents import UnreadableFile
from tests.nas.runs import assert_refused, measured, nas, settings, succeeded

OTHER_SPACE = ("space.widths=[[4, 6], [6, 8, 10]]", "search.searcher=guided", "search.proxies=0")


@pytest.fixture
def small():
    space = chain(depth=4, widths=(4, 8))
    rows = np.unique(space.sample_array(np.random.default_rng(0), 60), axis=0)
    return Experience(space, rows, rugged(rows))


def test_it_is_kept_as_it_is(small, tmp_path):
    small.keep(tmp_path / "transfer.json")
    again = kept(tmp_path / "transfer.json")
    assert again.space == small.space
    np.testing.assert_array_equal(again.genotypes, small.genotypes)
    np.testing.assert_array_equal(again.errors, small.errors)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"genotypes": [[9, 9, 9, 9]] * 3}, "genotypes: a genotype of space"),
        ({"errors": [1.0]}, "genotypes and 1 errors"),
        ({"errors": "many"}, "errors: must be a valid list"),
        ({"space": {}}, "format: is missing"),
        ({"space": None}, "space: must be"),
    ],
)
def test_what_was_kept_is_checked(small, tmp_path, change, told):
    path = tmp_path / "transfer.json"
    small.keep(path)
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | change))
    with pytest.raises(UnreadableFile, match=rf"transfer\.json.*{told}.*; delete it"):
        kept(path)
    path.write_text(json.dumps(whole)[:50])
    with pytest.raises(UnreadableFile, match=r"transfer\.json, line 1.*is no JSON.*; delete it"):
        kept(path)


def test_a_search_begins_with_what_led_elsewhere_and_what_spans_the_space(small):
    # The same space, so that every network stands for itself.
    problem = problem_of(small.space)
    first = small.first(problem, 12, rng=np.random.default_rng(0))
    assert 10 <= len(first) <= 12
    points = np.column_stack([small.errors, picked(small.genotypes)])
    leading = {tuple(row) for row in small.genotypes[nondominated(points)].tolist()}
    assert len(leading & {tuple(row) for row in first.tolist()}) >= 3
    assert {problem.space.smallest, problem.space.largest} <= {*map(tuple, first.tolist())}


def test_only_what_is_within_the_limits_here_is_begun_with(small):
    space = chain(depth=6)
    limited: Problem = problem_of(space, picks=8.0)
    assert (picked(small.first(limited, 12, rng=np.random.default_rng(0))) <= 8.0).all()


def test_a_run_learns_from_another_space_and_needs_it_only_once(finished, recipe, tmp_path):
    elsewhere, out = tmp_path / "elsewhere", tmp_path / "new"
    shutil.copytree(finished, elsewhere)
    given = settings(*OTHER_SPACE, f"search.transfer={elsewhere}")
    succeeded(nas("run", recipe, "--out", out, *given))
    told = json.loads(RunFolder(out).transfer.read_bytes())
    assert list(map(tuple, told["genotypes"])) == [genotype for genotype, _ in measured(finished)]
    shutil.rmtree(elsewhere)
    given = settings(*OTHER_SPACE, f"search.transfer={elsewhere}", "search.budget=10")
    succeeded(nas("run", recipe, "--out", out, "--resume", *given))
    assert len(measured(out)) == 10


def test_what_cannot_be_learned_from_is_refused(finished, recipe, tmp_path):
    def outcome(*overrides):
        return nas("spaces", recipe, "--out", tmp_path / "new", *settings(*overrides))

    there = f"search.transfer={finished}"
    assert_refused(outcome(*OTHER_SPACE, f"search.transfer={tmp_path}"), "holds no archive")
    assert_refused(
        nas("run", recipe, "--out", tmp_path / "unused", *settings(there)),
        *("search.transfer", "the searcher 'random' makes no use of it"),
    )
    assert not (tmp_path / "unused" / "supernet.safetensors").exists()
    mobile = '{family="mobilenet", stages=[{width=8, stride=1}]}'
    assert_refused(
        outcome(*OTHER_SPACE[1:], there, f"space={mobile}"), "no decision in common", "residual"
    )
