"""URLs: no secret is accepted, and none that is refused is repeated."""

from __future__ import annotations

import traceback

import pytest
from pydantic import JsonValue

from nas.archive.archive import Archive, ArchiveError
from nas.evaluation.cluster import ClusterError, connected
from nas.recipe.recipe import RecipeError, load_recipe
from nas.report.data import Results, SpaceSummary
from nas.report.html import html
from nas.settings.urls import cluster_address, database_url, shown, without_secrets
from tests.nas.report.sample import CLASSES
from tests.nas.runs import assert_refused, nas
from tests.nas.spaces import small_space

SECRET = "hunter2"
HELD = [
    "postgresql://u:hunter2@h/d",
    "postgresql://:hunter2@h/d",
    "postgresql://u:p/hunter2@h/d",
    "postgresql://u:p?hunter2@h/d",
    "postgresql://u:p#hunter2@h/d",
    "postgresql://u:p@hunter2@h/d",
    "postgresql://u%3Ahunter2@h/d",
    "postgresql://u:hunter2/d",
    "postgresql:u:hunter2@h/d",
    " postgresql://u:hunter2@h/d",
    "host=h password=hunter2",
    "postgresql://h/d?password=hunter2",
    "postgresql://h/d?PassWord=hunter2",
    "postgresql://h/d?pass%77ord=hunter2",
    "postgresql://h/d?sslpassword=hunter2",
    "postgresql://h/d?options=-c%20x=hunter2",
    "postgresql://h/d?hunter2",
    "postgresql://h/d?hunter2=1",
    "postgresql://h/d?sslmode=require&hunter2",
    "postgresql://h/d?sslmode=require;password=hunter2",
    "postgresql://h/d?sslmode=require?password=hunter2",
    "postgresql://h/d#hunter2",
    "postgresql://h/d;password=hunter2",
    "postgresql://h/d&password=hunter2",
    "postgresql://h/d%3Fpassword=hunter2",
    "postgresql://h/d password=hunter2",
    "mysql://h/d?passwd=hunter2",
    "mssql+pyodbc:///?odbc_connect=PWD%3Dhunter2",
    "oracle://h/d?wallet_password=hunter2",
    "snowflake://u@a/d?token=hunter2",
    "sqlite:///x.db?key=hunter2",
    "sqlite:///x.db;password=hunter2",
    "sqlite+pysqlcipher://:hunter2@/x.db?cipher=aes",
]
PLAIN = [
    ("postgresql://nas@h:5432/d?sslmode=require&passfile=/home/me/pg", "postgresql://h:5432/d..."),
    ("postgres://me%40corp@[::1]/d", "postgres://[::1]/d"),
    ("postgresql://nas@/d?host=/run/pg", "postgresql:///d..."),
    ("sqlite:////data/lr=0.1/a b@2.db", "sqlite:////data/lr=0.1/a b@2.db"),
    ("sqlite:///shared.db", "sqlite:///shared.db"),
]


def told(error: BaseException) -> str:
    """All that a traceback says."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize("url", HELD)
def test_a_secret_is_refused_and_not_repeated_even_in_a_traceback(recipe, url):
    with pytest.raises(RecipeError, match=r"search\.archive") as refused:
        load_recipe(recipe, [f"search.archive={url}"])
    assert SECRET not in told(refused.value)
    with pytest.raises(ValueError, match=r"must|may") as alone:
        database_url(url)
    assert SECRET not in told(alone.value)
    assert SECRET not in shown(url)


@pytest.mark.parametrize(
    "override",
    [
        'search.archive=["postgresql://u:hunter2@h/d"]',
        'search="postgresql://u:hunter2@h/d"',
        'search=["postgresql://u:hunter2@h/d"]',
        "search.archive:postgresql://u:hunter2@h/d",
        "compute.ray_address=ray://u:hunter2@h:1",
        "compute.ray_address=h:6379?token=hunter2",
    ],
)
def test_nor_where_it_stands_in_another_form_or_place(recipe, override):
    with pytest.raises(RecipeError) as refused:
        load_recipe(recipe, [override])
    assert SECRET not in told(refused.value)


def test_a_key_below_a_url_does_not_show_it(recipe):
    given = [f"search.archive={HELD[0]}", "search.archive.x=1"]
    with pytest.raises(RecipeError, match="no parts") as refused:
        load_recipe(recipe, given)
    assert SECRET not in told(refused.value)


def test_the_remedy_is_said(recipe):
    with pytest.raises(RecipeError, match=r"PGPASSWORD, PGPASSFILE or ~/\.pgpass"):
        load_recipe(recipe, ["search.archive=postgresql://u:hunter2@h/d"])
    with pytest.raises(RecipeError, match="RAY_AUTH_TOKEN"):
        load_recipe(recipe, ["compute.ray_address=ray://u:hunter2@h:1"])


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@h/d", "postgresql://h/d?password=hunter2"])
def test_from_python_and_the_command_line_too(finished, tmp_path, url):
    with pytest.raises(ArchiveError, match="PGPASSWORD") as refused:
        Archive(url, small_space(), study="net")
    assert SECRET not in told(refused.value)
    with pytest.raises(ClusterError, match="RAY_AUTH_TOKEN") as refused, connected(url):
        pass
    assert SECRET not in told(refused.value)
    outcome = nas("archive", "export", finished, tmp_path / "all.csv", "--archive", url)
    assert_refused(outcome, "PGPASSWORD")
    assert SECRET not in outcome.err


@pytest.mark.parametrize(("url", "expected"), PLAIN)
def test_what_holds_no_secret_is_taken_and_shown(recipe, url, expected):
    assert load_recipe(recipe, [f"search.archive={url}"]).search.archive == url
    assert shown(url) == expected


@pytest.mark.parametrize(
    "address", ["auto", "local", "10.0.0.1:6379", "ray://head:10001", "[::1]:1"]
)
def test_addresses_of_clusters(address):
    assert cluster_address(address) == address


@pytest.mark.parametrize("url", ["mysql+pymysql://u@h/d", "mssql://h/d", "oracle://h/d"])
def test_a_database_whose_locks_are_not_known_is_refused(recipe, url):
    with pytest.raises(RecipeError, match=r"search\.archive.*of postgresql or sqlite"):
        load_recipe(recipe, [f"search.archive={url}"])
    with pytest.raises(ArchiveError, match="postgresql or sqlite"):
        Archive(url, small_space(), study="net")


def test_a_text_with_urls():
    text = 'see "postgresql://u:hunter2@h/d", then sqlite:///a.db?key=hunter2'
    assert without_secrets(text) == 'see "postgresql://h/d", then sqlite:///a.db...'


def test_the_page_of_an_older_run_repeats_none():
    held: dict[str, JsonValue] = {
        "search": {"archive": "postgresql://u:hunter2@h/d?password=hunter2"}
    }
    results = Results(
        run="old",
        seed=0,
        space=SpaceSummary("s", 1, "2"),
        task="t",
        words=CLASSES,
        recipe=held,
        versions={},
    )
    assert "postgresql://" in html(results)
    assert SECRET not in html(results)
