"""The request that ``evaluate`` and ``explain`` judge: from a file, or from options and an attestation document."""

import re
from pathlib import Path
from typing import Final

from kms_policies.request import (
    Principal,
    Request,
    attestation_context,
    encryption_context,
    nitrotpm_context,
)
from kms_policies.request_files import REQUEST_MAX_BYTES, make_request, parse_request
from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.attestation.evidence import NitroTpmEvidence
from pcrgate.attestation.text import TEXT_MAX_BYTES, read_document_text
from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.cli.output import read_input
from pcrgate.cli.policy_files import parse_pairs
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.units import PcrIndex, Sha384, parse_hex

_SERVICE: Final = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)*\.amazonaws\.com(\.cn)?", re.ASCII)
"""The name of an AWS service; anything else is an ARN, or a slip of the keyboard that would be denied for that."""


def request_from_options(
    *,
    request: str | None,
    principal: str | None,
    action: str | None,
    key: str | None,
    encryption: list[str] | None,
    context: list[str] | None,
    pcr: list[str] | None,
    nitrotpm_pcr: list[str] | None,
    evidence: str | None,
    root_fingerprint: list[str] | None,
) -> Request:
    """Return the request that a file or the options describe; evidence adds the registers it attests.

    Raises:
        UsageError: when a file and options, or too few options, are given.
        KeyPolicyError: ``policy-request``.
        EvidenceError: when the evidence is not authentic at its own time.
    """
    attested = {} if evidence is None else _attested(evidence, root_fingerprint)
    options = (principal, action, key, encryption, context, pcr, nitrotpm_pcr)
    if request is not None:
        if any(option is not None for option in options):
            raise UsageError(
                ErrorCode.USAGE_ARGUMENTS, "--request holds the whole request, expected only --evidence beside it"
            )
        parsed = parse_request(read_input(request, REQUEST_MAX_BYTES))
        return make_request(
            principal=parsed.principal,
            action=parsed.action,
            key=parsed.resource,
            context={**parsed.context, **attested},
        )
    if principal is None or action is None or key is None:
        raise UsageError(
            ErrorCode.USAGE_ARGUMENTS, "no request, expected --request FILE, or --principal, --action and --key"
        )
    return make_request(
        principal=_principal(principal),
        action=action,
        key=key,
        context={
            **encryption_context(dict(parse_pairs(encryption, "--encryption-context"))),
            **parse_pairs(context, "--context"),
            **attestation_context(_registers(pcr)),
            **nitrotpm_context(_registers(nitrotpm_pcr)),
            **attested,
        },
    )


def _principal(text: str) -> Principal:
    if _SERVICE.fullmatch(text):
        return Principal.of_service(text)
    return Principal.from_arn(text)


def _registers(options: list[str] | None) -> dict[int, Sha384]:
    """Return the registers of a request: any value, also zero, since a request may carry what no policy should list."""
    found: dict[int, Sha384] = {}
    for name, digest in parse_pairs(options, "--pcr").items():
        if not name.isascii() or not name.isdigit():
            raise UsageError(ErrorCode.USAGE_PCR_INDEX, "expected N=HEX with the index of a register")
        found[PcrIndex(int(name)).index] = Sha384.from_hex(digest)
    return found


def _attested(file: str, fingerprints: list[str] | None) -> dict[str, str]:
    roots = AWS_ROOTS
    if fingerprints:
        roots = Roots.pinned(*(parse_hex(text, "the root fingerprint") for text in fingerprints))
    evidence = verify(read_document_text(read_input(str(Path(file)), TEXT_MAX_BYTES)), roots, Recorded())
    if isinstance(evidence, NitroTpmEvidence):
        return nitrotpm_context(evidence.pcrs)
    return attestation_context(evidence.pcrs)
