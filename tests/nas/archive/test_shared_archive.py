"""Runs that share one archive in a database."""

import pytest

from nas.recipe.recipe import RecipeError, load_recipe
from nas.run.run_archive import archive_in
from tests.nas.runs import assert_refused, evaluations, nas, settings, succeeded


def test_a_run_goes_on_in_a_database_and_another_uses_what_it_measured(finished, tmp_path):
    shared = f"sqlite:///{tmp_path / 'shared.db'}"
    first, second = tmp_path / "first", tmp_path / "second"
    chosen = settings(f"search.archive={shared}", "search.seed=1")
    given = ("--target", "edge-npu", "--evaluations", "2", "--out", first)
    succeeded(nas("search", "--from", finished, *given, *chosen))
    assert archive_in(first, databases=[shared]).evaluations()[:8] == evaluations(finished)
    assert len(archive_in(first, databases=[shared])) == 10
    given = ("--target", "bit-serial", "--evaluations", "1", "--out", second)
    succeeded(nas("search", "--from", first, *given, *settings(f"search.archive={shared}")))
    found = [archive_in(run, databases=[shared]).evaluations() for run in (first, second)]
    assert found[0] == found[1]
    assert len(found[0]) == 11
    named = ("--archive", shared)
    succeeded(nas("archive", "export", first, tmp_path / "all.csv", *named))
    assert len((tmp_path / "all.csv").read_text().splitlines()) == 12
    supernet = second / "supernet.safetensors"
    supernet.write_bytes(supernet.read_bytes() + b"other weights")
    outcome = nas("archive", "export", second, tmp_path / "all.csv", *named)
    assert_refused(outcome, "supernet", "another")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("archive.db", "must be a database URL"),
        ("postgresql://me:secret@host/nas", "PGPASSWORD"),
    ],
)
def test_what_is_no_database_or_holds_a_password_is_refused(recipe, url, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(recipe, [f"search.archive={url}"])


def test_a_search_may_have_a_seed_of_its_own(recipe):
    assert load_recipe(recipe).search.seed_or(7) == 7
    assert load_recipe(recipe, ["search.seed=0"]).search.seed_or(7) == 0


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], False),
        (["compute.workers=1"], False),
        (["compute.workers=2"], True),
        (["compute.workers=2", "search.asynchronous=false"], False),
        (["search.archive=sqlite:///shared.db"], True),
        (["search.asynchronous=true"], True),
    ],
)
def test_who_searches_asynchronously(recipe, overrides, expected):
    assert load_recipe(recipe, overrides).asynchronous is expected
