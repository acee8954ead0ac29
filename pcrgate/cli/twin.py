"""``pcrgate twin``: run the AWS of a laptop, and point a shell at it."""

import datetime as dt
import json
import signal
import ssl
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from pcrgate.attestation.anchors import AWS_ROOTS
from pcrgate.cli.output import print_json
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.environment import render_exports
from pcrgate.twin.server import Twin
from pcrgate.twin.settings import DEFAULT_ACCOUNT, DEFAULT_REGION, ModeSettings, ReplayMode, TwinSettings

app = typer.Typer(no_args_is_help=True)

DEFAULT_PORT: Final = 5600
"""HTTP port unless told otherwise: next to moto's 5000, away from it and from LocalStack's 4566."""

DEFAULT_TLS_PORT: Final = 5601
"""HTTPS port unless told otherwise."""

ANSWER_MAX_BYTES: Final = 65_536
"""Longest answer read from a twin's control endpoint: the environment has some twenty short variables."""

ANSWER_TIMEOUT_S: Final = 10
"""Longest wait for it: it takes milliseconds on loopback."""

_PORT_MAX: Final = 65_535
_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def up(
    *,
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=_PORT_MAX, help="HTTP port; 0 takes any free one.")] = DEFAULT_PORT,
    tls: Annotated[bool, typer.Option("--tls", help="Listen on HTTPS too, with a CA made for this twin.")] = False,
    tls_port: Annotated[
        int, typer.Option(min=0, max=_PORT_MAX, help="HTTPS port; 0 takes any free one.")
    ] = DEFAULT_TLS_PORT,
    state: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep keys, PKI and credentials here; else in memory.")
    ] = None,
    seed: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Make PKI, credentials and keys the same on every first start.")
    ] = None,
    frozen_time: Annotated[
        str | None, typer.Option(metavar="RFC3339", help="Let the twin's clock stand still at this time.")
    ] = None,
    aws_roots: Annotated[
        bool, typer.Option("--aws-roots", help="Accept documents of real enclaves too; needs --frozen-time.")
    ] = False,
    account: Annotated[str, typer.Option(metavar="DIGITS", help="The account of the first credentials.")] = (
        DEFAULT_ACCOUNT
    ),
    other_account: Annotated[
        list[str] | None, typer.Option(metavar="DIGITS", help="A further account with credentials. Repeatable.")
    ] = None,
    region: Annotated[str, typer.Option(help="The Region to print; the twin answers for all.")] = DEFAULT_REGION,
    refuse_replay: Annotated[
        bool, typer.Option("--refuse-replay", help="Refuse a document that was used before; AWS accepts it.")
    ] = False,
    propagation_delay: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long policy and grant changes take.")
    ] = 0.0,
    as_json: _JSON = False,
) -> None:
    """Run a twin until Ctrl-C or SIGTERM.

    Prints where it listens and the variables to export. Exit 0 ended, 2 for a port in use and other usage errors.
    """
    if aws_roots and frozen_time is None:
        raise UsageError(ErrorCode.TWIN_SETTINGS, "--aws-roots is given without --frozen-time, expected both")
    settings = TwinSettings(
        host=host,
        http_port=port,
        https_port=tls_port if tls else None,
        region=region,
        account=account,
        other_accounts=tuple(other_account or ()),
        state_dir=state,
        seed=None if seed is None else seed.encode(),
        frozen_time_ms=None if frozen_time is None else _milliseconds(frozen_time),
        root_fingerprints=AWS_ROOTS.fingerprints if aws_roots else frozenset(),
        modes=ModeSettings(
            replay=ReplayMode.REFUSED if refuse_replay else ReplayMode.ACCEPTED,
            propagation_delay_s=propagation_delay,
        ),
    )
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Twin(settings) as twin:
        _tell(twin.urls, twin.environment(), as_json=as_json)
        ended.wait()


@app.command()
def env(
    *,
    url: Annotated[str, typer.Option(help="Where the twin listens.")] = f"http://127.0.0.1:{DEFAULT_PORT}",
    ca_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM of the twin's CA, for an https URL.")
    ] = None,
    account: Annotated[str | None, typer.Option(metavar="DIGITS", help="Credentials of this account.")] = None,
    as_json: _JSON = False,
) -> None:
    """Print the variables that point AWS tools at a running twin: ``eval "$(pcrgate twin env)"``.

    The credentials are those of the account's root user, which exist in the twin alone.
    """
    variables = _ask(url, ca_file, account)
    if as_json:
        print_json(variables)
    else:
        sys.stdout.write(render_exports(variables))


def _tell(urls: Sequence[str], variables: Mapping[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(variables)
    else:
        sys.stdout.write(f"# twin ready at {' and '.join(urls)}, end it with Ctrl-C\n")
        sys.stdout.write(render_exports(variables))
    sys.stdout.flush()


def _ask(url: str, ca_file: Path | None, account: str | None) -> dict[str, str]:
    if urllib.parse.urlsplit(url).scheme not in {"http", "https"}:
        raise UsageError(
            ErrorCode.TWIN_UNREACHABLE, "the URL is neither http nor https, expected one that a twin printed"
        )
    query = "" if account is None else "?" + urllib.parse.urlencode({"account": account})
    try:
        context = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
        request = f"{url.rstrip('/')}/_twin/environment{query}"
        with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S, context=context) as answer:  # noqa: S310 - checked above
            variables = json.loads(answer.read(ANSWER_MAX_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            told = error.read(ANSWER_MAX_BYTES).decode(errors="replace")
        raise UsageError(ErrorCode.TWIN_UNREACHABLE, f"{url} refused: {told}") from error
    except (OSError, ValueError) as error:
        raise UsageError(
            ErrorCode.TWIN_UNREACHABLE, f"no twin answers at {url}, expected one started before"
        ) from error
    if not isinstance(variables, dict) or not all(isinstance(value, str) for value in variables.values()):
        raise UsageError(ErrorCode.TWIN_UNREACHABLE, f"what answers at {url} is no twin")
    return variables


def _milliseconds(text: str) -> int:
    try:
        instant = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(ErrorCode.USAGE_TIME, "the frozen time is not RFC 3339, like 2026-01-31T12:00:00Z") from error
    if instant.tzinfo is None:
        raise UsageError(ErrorCode.USAGE_TIME, "the frozen time has no offset, expected Z or one like +01:00")
    return round(instant.timestamp() * 1000)
