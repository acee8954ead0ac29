"""``pcrgate measurements``: make, sign and verify the file of approved measurements that Terraform reads."""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from kms_policies.measurements import (
    FILE_MAX_BYTES,
    TIME_FORMAT,
    ApprovedMeasurement,
    measurements_of_rollover,
    serialize_measurements,
)
from kms_policies.measurements_signature import SIGNATURE_TEXT_MAX_BYTES, sign_measurements, verify_measurements
from kms_policies.rollover_files import DOCUMENT_MAX_BYTES, parse_rollover
from pcrgate.cli.output import print_json, read_input
from pcrgate.errors import ErrorCode, UsageError

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

KEY_FILE_MAX_BYTES: Final = 4_096
"""Largest PEM file read: an Ed25519 key has some 120 bytes, and may have notes around it."""

SIGNATURE_SUFFIX: Final = ".sig"
"""What the signature file's name has behind the measurements file's."""

_FILE = Annotated[str, typer.Argument(metavar="FILE", help="The measurements file.")]
_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def sign(
    file: _FILE,
    *,
    key: Annotated[str, typer.Option("--key", metavar="PEM", help="The publisher's private Ed25519 key, PKCS #8.")],
    output: Annotated[
        str | None, typer.Option("--output", metavar="FILE", help="The signature file; FILE.sig by default.")
    ] = None,
    as_json: _JSON = False,
) -> None:
    """Sign a measurements file. What cannot be read is not signed."""
    data = read_input(file, FILE_MAX_BYTES)
    signature = sign_measurements(data, _private_key(key))
    target = output or file + SIGNATURE_SUFFIX
    try:
        Path(target).write_bytes(signature)
    except OSError as error:
        raise UsageError(
            ErrorCode.USAGE_FILE, f"cannot write {target}: {(error.strerror or 'failed').lower()}"
        ) from error
    if as_json:
        print_json({"verdict": "signed", "signature": target})
    else:
        typer.echo(f"signed: {target}")


@app.command()
def verify(
    file: _FILE,
    *,
    public_key: Annotated[
        str, typer.Option("--public-key", metavar="PEM", help="The expected publisher's public key.")
    ],
    signature: Annotated[
        str | None, typer.Option("--signature", metavar="FILE", help="The signature file; FILE.sig by default.")
    ] = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Judge at this RFC 3339 time, not now.")
    ] = None,
    as_options: Annotated[
        bool, typer.Option("--as-options", help="Print the options that approve these for pcrgate policy prove.")
    ] = False,
    as_json: _JSON = False,
) -> None:
    """Verify signature, form and ends before Terraform reads the file. Exit 0 fine, 1 refused, 2 usage."""
    if as_options and as_json:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "--as-options and --json are both given, expected one")
    expected = _public_key(public_key)
    data = read_input(file, FILE_MAX_BYTES)
    signature_text = read_input(signature or file + SIGNATURE_SUFFIX, SIGNATURE_TEXT_MAX_BYTES)
    verified = verify_measurements(data, signature_text=signature_text, public_key=expected, now=_time(at))
    found = verified.measurements
    if as_options:
        typer.echo(" ".join(prove_options(found)))
    elif as_json:
        print_json({"verdict": "verified", "measurements": [_describe(one) for one in found]})
    else:
        for one in found:
            typer.echo(f"verified: {one.name}, until {_end(one)}")
            for field, value in one.pcrs.items():
                typer.echo(f"  {field} {value.hex()}")


@app.command("from-rollover")
def from_rollover(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The roll-over document.")],
) -> None:
    """Print the measurements file of a roll-over document: what its policies list, admitted and draining."""
    document = parse_rollover(read_input(file, DOCUMENT_MAX_BYTES))
    typer.echo(serialize_measurements(measurements_of_rollover(document)), nl=False)


def prove_options(found: tuple[ApprovedMeasurement, ...]) -> list[str]:
    """Return the words that approve these measurements for ``pcrgate policy prove``.

    Args:
        found: at least one, all with the same registers.
    """
    words = []
    for field in found[0].pcrs:
        for value in dict.fromkeys(one.pcrs[field].hex() for one in found):
            words += _option(field, value, nitrotpm="pcr4" in found[0].pcrs)
    return words


def _option(field: str, value: str, *, nitrotpm: bool) -> list[str]:
    if field == "pcr0":
        return ["--pcr0", value]
    return ["--nitrotpm-pcr" if nitrotpm else "--pcr", f"{field.removeprefix('pcr')}={value}"]


def _describe(one: ApprovedMeasurement) -> Mapping[str, object]:
    return {
        "name": one.name,
        "pcrs": {field: value.hex() for field, value in one.pcrs.items()},
        "expires": _end(one),
    }


def _end(one: ApprovedMeasurement) -> str:
    return one.expires.strftime(TIME_FORMAT)


def _time(at: str | None) -> dt.datetime:
    if at is None:
        return dt.datetime.now(dt.UTC)
    try:
        moment = dt.datetime.fromisoformat(at)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise UsageError(ErrorCode.USAGE_ARGUMENTS, "--at is not an RFC 3339 time with its offset")
    return moment.astimezone(dt.UTC)


def _private_key(file: str) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(read_input(file, KEY_FILE_MAX_BYTES), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(ErrorCode.MEASUREMENTS_KEY, "the private key is not Ed25519 in PEM, unencrypted")
    return key


def _public_key(file: str) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(read_input(file, KEY_FILE_MAX_BYTES))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(ErrorCode.MEASUREMENTS_KEY, "the public key is not Ed25519 in PEM")
    return key
