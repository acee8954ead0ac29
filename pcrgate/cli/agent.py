"""``pcrgate agent``: attest an enclave through its service, have actions validated and models run, audit receipts."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pcrgate.attestation.cbor import CborValue, decode
from pcrgate.cli.manifest_keys import read_private_key
from pcrgate.cli.output import console, print_json, read_input, table
from pcrgate.client.client import Client
from pcrgate.client.outcome import Outcome
from pcrgate.client.trust import TrustPolicy
from pcrgate.client.work import Action, Tensor
from pcrgate.errors import ErrorCode, UsageError

INPUT_MAX_BYTES = 1 << 20
"""Longest input: what one sealed request holds."""

TOKEN_MAX_BYTES = 4096
"""Longest file of a token."""

Url = Annotated[str, typer.Option("--url", metavar="URL", help="The service; https, or http to this machine.")]
TokenFile = Annotated[str, typer.Option("--token-file", metavar="FILE", help="File with the bearer token.")]
Ca = Annotated[str | None, typer.Option("--ca-file", metavar="FILE", help="CA certificates of the service's TLS.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Trust = Annotated[str, typer.Option("--trust", metavar="FILE", help="The trust policy; nothing is trusted without.")]
_Agent = Annotated[str, typer.Option("--agent", metavar="NAME", help="The agent's name in the manifest.")]
_Key = Annotated[str, typer.Option("--key", metavar="FILE", help="The agent's Ed25519 key in PEM.")]

app = typer.Typer(no_args_is_help=True)


@app.command("attest")
def attest_command(
    *,
    url: Url,
    token_file: TokenFile,
    trust: _Trust,
    agent: _Agent,
    key: _Key,
    ca_file: Ca = None,
    as_json: Json = False,
) -> None:
    """Ask for fresh evidence and appraise it against the trust policy; send nothing else."""
    with _client(url, token_file, trust, agent, key=key, ca_file=ca_file) as client:
        attested = client.attest()
    statement = attested.identity.statement
    facts = {
        "verdict": "accepted",
        "module_id": attested.result.evidence.module_id,
        "boot_id": statement.boot_id.hex(),
        "manifest_digest": statement.manifest_digest.hex(),
        "matched": {f"PCR{index}": name for index, name in attested.result.matched},
    }
    if as_json:
        print_json(facts)
    else:
        rows = [(name, value) for name, value in facts.items() if isinstance(value, str)]
        rows += [(f"PCR{index}", name) for index, name in attested.result.matched]
        console().print(table("", ("what", "value"), rows))


@app.command("validate")
def validate_command(
    action: Annotated[
        str,
        typer.Argument(metavar="ACTION", help='JSON {"tool", "arguments", "purpose"}, at most 1 MiB; - reads stdin.'),
    ],
    *,
    url: Url,
    token_file: TokenFile,
    trust: _Trust,
    agent: _Agent,
    key: _Key,
    ca_file: Ca = None,
    as_json: Json = False,
) -> None:
    """Have an action checked against the agent's grant, and print the enclave's signed report."""
    wanted = _action(read_input(action, INPUT_MAX_BYTES))
    with _client(url, token_file, trust, agent, key=key, ca_file=ca_file) as client, client.session() as session:
        outcome = session.validate(wanted)
    report = decode(outcome.result)
    if as_json:
        print_json({"verdict": "accepted", "report": _plain(report), **_receipt(outcome)})
    else:
        rows = [(str(name), _plain(value)) for name, value in report.items()] if isinstance(report, dict) else []
        console().print(table("", ("report", "value"), [*rows, *_receipt(outcome).items()]))


@app.command("infer")
def infer_command(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Name of the weights in the manifest.")],
    file: Annotated[str, typer.Argument(metavar="INPUT", help="Raw elements, little endian; - reads stdin.")],
    *,
    name: Annotated[str, typer.Option("--input", metavar="NAME", help="Name of the model's input.")],
    kind: Annotated[str, typer.Option("--type", metavar="TYPE", help="float32, float64, int32, int64 or uint8.")],
    shape: Annotated[str, typer.Option("--shape", metavar="N,N", help="Dimensions, separated by commas.")],
    url: Url,
    token_file: TokenFile,
    trust: _Trust,
    agent: _Agent,
    key: _Key,
    ca_file: Ca = None,
    as_json: Json = False,
) -> None:
    """Run a released model on one input, and print its outputs in hex."""
    sizes = shape.split(",")
    if not all(size.isascii() and size.isdigit() for size in sizes):
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "--shape is not numbers separated by commas")
    tensor = Tensor(type=kind, shape=tuple(int(size) for size in sizes), data=read_input(file, INPUT_MAX_BYTES))
    with _client(url, token_file, trust, agent, key=key, ca_file=ca_file) as client, client.session() as session:
        outputs = session.infer(model, {name: tensor})
    found = {
        label: {"type": one.type, "shape": list(one.shape), "data": one.data.hex()} for label, one in outputs.items()
    }
    if as_json:
        print_json({"verdict": "accepted", "outputs": found})
    else:
        rows = [(label, one.type, list(one.shape), one.data.hex()) for label, one in outputs.items()]
        console().print(table("", ("output", "type", "shape", "data"), rows))


@app.command("receipts")
def receipts_command(
    *,
    url: Url,
    token_file: TokenFile,
    trust: _Trust,
    agent: _Agent,
    key: _Key,
    ca_file: Ca = None,
    as_json: Json = False,
) -> None:
    """Fetch every receipt of the current boot, and verify that they are one chain without a gap."""
    with _client(url, token_file, trust, agent, key=key, ca_file=ca_file) as client:
        chain = client.receipts()
    rows = [
        (
            observed.sequence,
            observed.agent_id or "",
            observed.workload or "",
            observed.decision.value,
            observed.code or "",
        )
        for observed in (receipt.claims.observed for receipt in chain)
    ]
    names = ("sequence", "agent", "workload", "decision", "code")
    if as_json:
        print_json({"verdict": "accepted", "receipts": [dict(zip(names, row, strict=True)) for row in rows]})
    else:
        console().print(table("", names, rows))


def read_token(name: str) -> str:
    """Return the token in a file; it never stands on a command line.

    Raises:
        UsageError: ``usage-file``.
    """
    try:
        token = read_input(name, TOKEN_MAX_BYTES).decode("ascii").strip()
    except UnicodeDecodeError:
        token = ""
    if not token or not token.isprintable():
        raise UsageError(ErrorCode.USAGE_FILE, "the token's file holds no token, expected one line")
    return token


def _client(url: str, token_file: str, trust: str, agent: str, *, key: str, ca_file: str | None) -> Client:
    return Client(
        url,
        trust=TrustPolicy.read(Path(trust)),
        agent_id=agent,
        agent_key=read_private_key(key, None),
        token=read_token(token_file),
        verify=ca_file or True,
    )


def _action(data: bytes) -> Action:
    try:
        value = json.loads(data)
    except ValueError:
        value = None
    if (
        type(value) is not dict
        or not value.keys() <= {"tool", "arguments", "purpose"}
        or type(value.get("tool")) is not str
    ):
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "the action is not JSON of tool, arguments and purpose")
    arguments = value.get("arguments", {})
    if type(arguments) is not dict:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "arguments of the action is not an object")
    return Action(tool=value["tool"], arguments=arguments, purpose=value.get("purpose"))


def _receipt(outcome: Outcome) -> dict[str, Any]:
    return {
        "receipt_sequence": outcome.receipt.claims.observed.sequence,
        "receipt_digest": outcome.receipt.digest.hex(),
    }


def _plain(value: CborValue) -> Any:
    """Return what JSON can say: bytes become hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(name): _plain(entry) for name, entry in value.items()}
    return value
