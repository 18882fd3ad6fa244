"""URLs of databases and clusters: refused if they may hold a secret, and shown without secrets."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl, quote, unquote

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

if TYPE_CHECKING:  # a recipe that names no database needs no SQLAlchemy
    from sqlalchemy.engine import URL

_BACKENDS = ("postgresql", "sqlite")
UNSHOWN = "unshown"  # the kind of a fault in a recipe whose value may be a secret
# Parameters of database drivers that hold no secret. Some are paths of files that may hold one.
_PARAMETERS = frozenset(
    (
        *("host", "hostaddr", "port", "user", "service", "passfile", "application_name"),
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "sslnegotiation", "sslsni"),
        *("gssencmode", "krbsrvname", "channel_binding", "require_auth", "requirepeer"),
        *("target_session_attrs", "load_balance_hosts", "client_encoding", "tcp_user_timeout"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
        *("connect_timeout", "timeout"),
        *("mode", "cache", "immutable", "nolock", "vfs", "uri", "check_same_thread"),
    )
)
_SERVER = re.compile(
    r"(?P<scheme>[\w+.-]+://)([^/].*@)?(?P<place>([\w.-]*|\[[\da-fA-F:.]+\])(:\d+)?(?![^/?#])"
    r"(/[\w./-]*)?)",
    re.DOTALL,
)
_FILE = re.compile(r"(?P<scheme>sqlite(\+\w+)?://)(?P<place>/[^?&;%]*)")
_ANYWHERE = re.compile(r"[\w+.-]+://[^\s'\"<>]*")
_ADDRESS = re.compile(r"([\w+.-]+://)?(\[[\da-fA-F:.]+\]|[\w.-]+)(:\d+)?/?")
_REMEDY = (
    "since recipes and reports are kept: PostgreSQL takes one from PGPASSWORD, PGPASSFILE or "
    "~/.pgpass"
)


def shown(url: str) -> str:
    """A URL without secrets: scheme, host, port, and database or file; "..." for the rest.

    Users, passwords and parameters are left out, and so is every part of an unusual form.
    """
    found = _FILE.match(url) or _SERVER.match(url)
    if found is None:
        return f"{url.partition('://')[0]}://..." if "://" in url else "..."
    return f"{found['scheme']}{found['place']}{'' if found.end() == len(url) else '...'}"


def without_secrets(text: str) -> str:
    """The text with every URL in it replaced by `shown(url)`."""
    return _ANYWHERE.sub(lambda found: shown(found[0]), text)


def database_url(text: Any) -> URL:
    """The URL of a database, with the driver that is used for it.

    Raises:
        ValueError: If the text is no URL of a database or may hold a secret; the message repeats no
            secret.
    """
    if not isinstance(text, str) or not re.match(r"[\w+]+://", text):
        raise ValueError("must be a database URL such as postgresql://user@host/database")
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(re.sub("^postgres(ql)?://", "postgresql+psycopg://", text))
    except (ArgumentError, ValueError):
        raise ValueError(
            f"{shown(text)} must be a database URL such as postgresql://user@host/database"
        ) from None  # the message of the cause may repeat a part of the URL
    if url.get_backend_name() not in _BACKENDS:
        raise ValueError(
            f"{shown(text)} must be the URL of a database of {' or '.join(_BACKENDS)}, whose locks "
            "keep drivers that share an archive apart"
        )
    if url.password is not None or ":" in (url.username or ""):
        raise ValueError(f"{shown(text)} must have no password, {_REMEDY}")
    if not set(url.query) <= _PARAMETERS:
        raise ValueError(
            f"{shown(text)} may have no parameters but {', '.join(sorted(_PARAMETERS))}; others "
            f"may hold a password and must be left out, {_REMEDY}"
        )
    if not _plain(url, text):
        raise ValueError(
            f"{shown(text)} must name user, host and database plainly, then parameters as "
            "?NAME=VALUE&NAME=VALUE"
        )
    return url


def reading(url: URL) -> tuple[URL, dict[str, Any]]:
    """The URL and the driver settings with which a database can be read but not written."""
    if url.get_backend_name() == "sqlite":
        file = quote(str(url.database).removeprefix("file:"), safe="/%")
        url = url.set(database=f"file:{file}")
        return url.update_query_dict({"mode": "ro", "uri": "true"}), {}
    return url, {"options": "-c default_transaction_read_only=on"}


def _plain(url: URL, text: str) -> bool:
    """Whether no part of a URL hides a parameter, such as a password inside the user's name."""
    try:
        pairs = parse_qsl(text.partition("?")[2], strict_parsing="?" in text)
    except ValueError:
        return False
    is_file = url.get_backend_name() == "sqlite"
    odd = re.compile(r"[?&;]\s*\w+=|[{}]" if is_file else r"[=?&;#{}\s]")
    parts = [unquote(part or "") for part in (url.username, url.host, url.database)]
    return not any(map(odd.search, [*parts, *(value for _, value in pairs)]))


def cluster_address(text: Any) -> str:
    """The address of a Ray cluster.

    Raises:
        ValueError: If the text is no address or may hold a secret; the message repeats no secret.
    """
    if not isinstance(text, str) or not _ADDRESS.fullmatch(text):
        raise ValueError(
            "must be one such as auto, 10.0.0.1:6379 or ray://head:10001, without user, password "
            "and parameters; Ray takes its token from RAY_AUTH_TOKEN, "
            "RAY_AUTH_TOKEN_PATH or ~/.ray/auth_token"
        )
    return text


def _checked(check: Callable[[Any], object]) -> BeforeValidator:
    """A validator for recipes that refuses a value if `check` does; its message shows no value."""

    def checked(given: Any) -> Any:
        try:
            check(given)
        except ValueError as error:
            raise PydanticCustomError(UNSHOWN, "{problem}", {"problem": str(error)}) from None
        return given

    return BeforeValidator(checked)


Database = Annotated[str, _checked(database_url)]
Cluster = Annotated[str, _checked(cluster_address)]
