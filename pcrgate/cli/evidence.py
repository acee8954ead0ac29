"""``pcrgate evidence``: inspect, verify and record attestation documents."""

import contextlib
import datetime as dt
import re
import secrets
import sys
import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Final, Never

import typer

from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.appraisal import AttestationResult, appraise
from pcrgate.attestation.cose import parse_sign1
from pcrgate.attestation.document import parse_payload
from pcrgate.attestation.evidence import VerifiedEvidence
from pcrgate.attestation.policy import EnclavePolicy, NitroTpmPolicy
from pcrgate.attestation.recording import Device
from pcrgate.attestation.recording import record as record_evidence
from pcrgate.attestation.report import (
    describe_cautions,
    describe_checks,
    describe_evidence,
    describe_omitted,
    describe_unverified,
)
from pcrgate.attestation.text import TEXT_MAX_BYTES, read_document_text
from pcrgate.attestation.verifier import MAX_AGE_S, Live, Recorded, verify
from pcrgate.cli.evidence_policy import enclave_policy, nitrotpm_policy
from pcrgate.cli.evidence_tables import show_evidence, show_result
from pcrgate.cli.main import EXIT_REFUSED, tell_refusal
from pcrgate.cli.output import print_json, read_input
from pcrgate.cli.text import printable
from pcrgate.errors import ErrorCode, EvidenceError, PcrgateError, UsageError
from pcrgate.kms.nsm import NSM_DEVICE, NsmDevice
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import FIELD_MAX_BYTES, Sha384, parse_hex

app = typer.Typer(no_args_is_help=True)

_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)


class Kind(Enum):
    """Name the kind of evidence a policy is for."""

    ENCLAVE = "enclave"
    NITROTPM = "nitrotpm"


_FILE = Annotated[str, typer.Argument(metavar="FILE", help="Raw, base64 or hex; - reads standard input.")]
_JSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_ROOT = Annotated[
    list[str] | None,
    typer.Option(
        "--root-fingerprint", metavar="HEX", help="Pin this root (SHA-256 of its DER) instead of AWS's. Repeatable."
    ),
]


@app.command()
def inspect(file: _FILE, *, root_fingerprint: _ROOT = None, as_json: _JSON = False) -> None:
    """Check structure, chain and signature at the document's own time, and print what it says.

    Nothing is compared with a policy: authentic does not mean acceptable. Exit 0 authentic, 1 refused, 2 usage.
    """
    roots = _roots(root_fingerprint)

    def judge(document: bytes) -> VerifiedEvidence:
        return verify(document, roots, Recorded())

    evidence = _judge(file, judge, as_json=as_json)
    if as_json:
        print_json({"verdict": "authentic", "code": None, **_grounds(evidence), **describe_evidence(evidence)})
    else:
        show_evidence(evidence, "authentic at its own time; compared with no policy")


@app.command("verify")
def verify_command(
    file: _FILE,
    *,
    pcr: Annotated[
        list[str] | None,
        typer.Option("--pcr", metavar="N=HEX|zero", help="Expect a register; repeat one N to accept several values."),
    ] = None,
    nonce: Annotated[str | None, typer.Option(metavar="HEX", help="Expect this nonce.")] = None,
    public_key: Annotated[
        str | None, typer.Option(metavar="FILE", help="Expect the bytes of this file as public key.")
    ] = None,
    user_data: Annotated[str | None, typer.Option(metavar="HEX", help="Expect this user data.")] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="Judge live at this RFC 3339 time, not now.")] = None,
    recorded: Annotated[bool, typer.Option("--recorded", help="Judge at the document's own time.")] = False,
    max_age: Annotated[
        int | None, typer.Option(metavar="SECONDS", help=f"Oldest document accepted live; default {MAX_AGE_S}.")
    ] = None,
    kind: Annotated[Kind, typer.Option(help="Who must have attested.")] = Kind.ENCLAVE,
    insecure_allow_debug: Annotated[
        bool, typer.Option("--insecure-allow-debug", help="Accept an enclave whose memory can be read.")
    ] = False,
    root_fingerprint: _ROOT = None,
    as_json: _JSON = False,
) -> None:
    """Verify a document and compare it with what you expect.

    An enclave needs --pcr 0=HEX; a NitroTPM needs --pcr 4=, 7= and 12=. What is not named is not compared, and the
    result says so. Exit 0 accepted, 1 refused (the first line on stderr names the code and the fact), 2 usage.
    """
    roots = _roots(root_fingerprint)
    mode = _time(at, max_age, recorded=recorded)
    key = _public_key(public_key)
    policy: EnclavePolicy | NitroTpmPolicy
    if kind is Kind.ENCLAVE:
        policy = enclave_policy(
            pcr or [], nonce=nonce, user_data=user_data, public_key=key, insecure_allow_debug=insecure_allow_debug
        )
    elif insecure_allow_debug:
        raise UsageError(ErrorCode.USAGE_POLICY, "a NitroTPM has no debug mode, expected no --insecure-allow-debug")
    else:
        policy = nitrotpm_policy(pcr or [], nonce=nonce, user_data=user_data, public_key=key)
    evidence = _judge(file, lambda document: verify(document, roots, mode), as_json=as_json)
    try:
        result = appraise(evidence, policy)
    except EvidenceError as error:
        _refuse(error, {**_grounds(evidence), **describe_evidence(evidence)}, as_json=as_json)
    if as_json:
        print_json(
            {
                "verdict": "accepted",
                "code": None,
                "matched": {str(index): name for index, name in result.matched},
                **_grounds(result),
                **describe_evidence(evidence),
            }
        )
    else:
        show_result(result)


@app.command()
def record(
    *,
    output: Annotated[str, typer.Option(metavar="FILE", help="Where to write; - is standard output.")] = "-",
    device: Annotated[str | None, typer.Option(metavar="PATH", help=f"The NSM device; else {NSM_DEVICE}.")] = None,
    software: Annotated[
        bool, typer.Option("--software", help="Ask a software NSM instead, with a development PKI of its own.")
    ] = False,
    pki: Annotated[
        str | None, typer.Option(metavar="DIR", help="With --software: keep the development PKI in this folder.")
    ] = None,
    pcr0: Annotated[
        str | None, typer.Option("--pcr0", metavar="HEX", help="With --software: the image it measures.")
    ] = None,
    nonce: Annotated[str | None, typer.Option(metavar="HEX", help="Ask for this nonce; else 32 random bytes.")] = None,
    user_data: Annotated[str | None, typer.Option(metavar="HEX", help="Ask for this user data.")] = None,
    public_key: Annotated[str | None, typer.Option(metavar="FILE", help="Ask for the bytes of this file.")] = None,
    root_fingerprint: _ROOT = None,
    description: Annotated[str, typer.Option(help="One line of where the recording comes from.")] = "recorded",
) -> None:
    """Record a document with what it was asked for and when, as a vector that tests can judge again.

    The JSON is of the schema of tests/vectors/evidence. Exit 0 recorded, 1 refused, 2 usage.
    """
    fields = {
        "nonce": secrets.token_bytes(32) if nonce is None else parse_hex(nonce, "the nonce"),
        "user_data": None if user_data is None else parse_hex(user_data, "the user data"),
        "public_key": _public_key(public_key),
    }
    with contextlib.ExitStack() as stack:
        if software and device is not None:
            raise UsageError(ErrorCode.USAGE_ARGUMENTS, "--device and --software exclude each other, expected one")
        if software:
            measured = Sha384(secrets.token_bytes(48)) if pcr0 is None else Sha384.from_hex(pcr0)
            issuer = _development_pki(pki)
            nsm: Device = SoftwareNsm(pki=issuer, pcrs={0: measured})
            roots = _roots(root_fingerprint) if root_fingerprint else Roots.pinned(issuer.root_fingerprint)
        elif pki is not None or pcr0 is not None:
            raise UsageError(ErrorCode.USAGE_ARGUMENTS, "--pki and --pcr0 belong to --software, expected it with them")
        else:
            nsm = stack.enter_context(NsmDevice(NSM_DEVICE if device is None else Path(device)))
            roots = _roots(root_fingerprint)
        now_ms = time.time_ns() // 1_000_000
        recording = record_evidence(nsm, now_ms=now_ms, roots=roots, description=description, **fields)
    if output == "-":
        sys.stdout.write(recording.to_json())
    else:
        _write(output, recording.to_json())
    sys.stderr.write(f"recorded: {recording.name}, root {recording.evidence.root_fingerprint.hex()}\n")


def _development_pki(folder: str | None) -> DevPki:
    if folder is None:
        return DevPki.ephemeral()
    path = Path(folder)
    if path.exists():
        return DevPki.load(path)
    made = DevPki.ephemeral()
    made.save(path)
    return made


def _write(file: str, text: str) -> None:
    try:
        Path(file).write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or "no reason given").lower()
        raise UsageError(ErrorCode.USAGE_FILE, f"cannot write {printable(file)}: {reason}") from error


def _judge(file: str, judge: Callable[[bytes], VerifiedEvidence], *, as_json: bool) -> VerifiedEvidence:
    """Return the evidence, or end the command with a refusal that shows what the document claims."""
    document = b""
    try:
        document = read_document_text(read_input(file, TEXT_MAX_BYTES))
        return judge(document)
    except UsageError:
        raise
    except PcrgateError as error:
        claims: dict[str, object] = {"checks": [], "not_checked": [], "warnings": [], "unverified": None}
        try:
            claims["unverified"] = describe_unverified(parse_payload(parse_sign1(document).payload))
        except EvidenceError:
            claims["unverified"] = None
        _refuse(error, claims, as_json=as_json)


def _refuse(error: PcrgateError, fields: dict[str, object], *, as_json: bool) -> Never:
    if as_json:
        code = error.code
        print_json(
            {"verdict": "rejected", "code": code.code, "message": error.message, "advice": code.advice, **fields}
        )
    tell_refusal(error)
    raise typer.Exit(EXIT_REFUSED)


def _grounds(judged: VerifiedEvidence | AttestationResult) -> dict[str, object]:
    return {
        "checks": describe_checks(judged.checks),
        "not_checked": describe_omitted(judged.omitted),
        "warnings": describe_cautions(judged.cautions),
    }


def _roots(fingerprints: list[str] | None) -> Roots:
    if not fingerprints:
        return AWS_ROOTS
    return Roots.pinned(*(parse_hex(text, "the root fingerprint") for text in fingerprints))


def _time(at: str | None, max_age: int | None, *, recorded: bool) -> Live | Recorded:
    if recorded:
        if at is not None or max_age is not None:
            raise UsageError(ErrorCode.USAGE_TIME, "--recorded judges at the document's own time, expected no other")
        return Recorded()
    now_ms = time.time_ns() // 1_000_000 if at is None else _parse_time_ms(at)
    return Live(now_ms=now_ms, max_age_s=MAX_AGE_S if max_age is None else max_age)


def _parse_time_ms(text: str) -> int:
    """Return milliseconds since the epoch, finer digits cut off. Spec: RFC 3339, 5.6."""
    try:
        # fromisoformat alone would take week dates, bare dates and times without seconds too
        moment = dt.datetime.fromisoformat(text.upper()) if _RFC_3339.fullmatch(text) else None
    except ValueError:
        moment = None
    if moment is None:
        raise UsageError(ErrorCode.USAGE_TIME, "the time is not RFC 3339 with its offset, like 2026-01-31T12:00:00Z")
    return (moment - _EPOCH) // _MILLISECOND


def _public_key(file: str | None) -> bytes | None:
    """Return the content of the file that an option names; one too long is the caller's mistake, not a verdict."""
    if file is None:
        return None
    try:
        return read_input(file, FIELD_MAX_BYTES)
    except UsageError:
        raise
    except PcrgateError as error:
        raise UsageError(ErrorCode.USAGE_FILE, f"as a public key, {error.message}") from error
