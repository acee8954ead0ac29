"""The KMS of the twin as a WSGI application: authentication, modes, one enforcement point, audit, and then the service.

The steps of a request: 1 size, 2 injected latency and outage, 3 signature, 4 quota, 5 shape and keys, 6 recipient,
7 authorisation, 8 replay, 9 the operation. From step 4 on, whatever refuses, there is an audit record.
"""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from pcrgate.twin.accounts import Accounts
from pcrgate.twin.audit import AuditTrail, Call
from pcrgate.twin.clock import TwinClock
from pcrgate.twin.counters import CallCounters
from pcrgate.twin.faults import DroppedConnectionError, FrontDoorError
from pcrgate.twin.http_edge import StartResponse, drop_connection, error_body, read_request, respond
from pcrgate.twin.kms.enforcement import Enforcement
from pcrgate.twin.kms.enforcement_caller import AuthenticatedCaller, authenticated_caller
from pcrgate.twin.kms.interface import Kms, Prepared, Response
from pcrgate.twin.kms.service_errors import AwsError
from pcrgate.twin.kms.wire_json import parse_request, render_response
from pcrgate.twin.modes import Modes
from pcrgate.twin.propagation import Propagation
from pcrgate.twin.recipient_check import Recipient, RecipientChecker
from pcrgate.twin.sigv4 import HttpRequest, parse_authorization, verify_signature

TARGET_PREFIX: Final = "TrentService."
"""What ``X-Amz-Target`` starts with in requests to KMS. Spec: botocore service model, targetPrefix."""

POLICY_OPERATIONS: Final = frozenset({"CreateGrant", "PutKeyPolicy", "RetireGrant", "RevokeGrant"})
"""Operations after which a key's authorisations may look different."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KmsParts:
    """Hold what a KMS endpoint is made of; modes, counters and records are shared with the control endpoint."""

    kms: Kms
    accounts: Accounts
    checker: RecipientChecker
    enforcement: Enforcement
    propagation: Propagation
    modes: Modes
    audit: AuditTrail
    counters: CallCounters
    clock: TwinClock


@dataclass(slots=True, kw_only=True)
class _Progress:
    """What is known of a request so far, for its audit record."""

    request: Mapping[str, object] = field(default_factory=dict)
    prepared: Prepared | None = None
    recipient: Recipient | None = None
    response: Response | None = None
    error: tuple[str, str] | None = None


class KmsApp:
    """Answer requests to KMS."""

    def __init__(self, parts: KmsParts) -> None:
        self._parts = parts

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Spec: PEP 3333."""
        request_id = str(uuid.uuid4())
        try:
            status, body = 200, render_response(self._answer(environ, request_id))
        except (AwsError, FrontDoorError) as error:
            status, body = error.code.status, error_body(error.code.code, error.message)
        except DroppedConnectionError:
            drop_connection(environ)
        return respond(start_response, status, body, request_id=request_id)

    def _answer(self, environ: Mapping[str, Any], request_id: str) -> Response:
        # 1
        request = read_request(environ)
        operation = request.headers.get("x-amz-target", "").removeprefix(TARGET_PREFIX)
        # 2
        self._parts.modes.before(operation)
        # 3
        caller = authenticate(self._parts.accounts, request, service="kms", clock=self._parts.clock)
        progress = _Progress()
        try:
            progress.response = self._serve(operation, request.body, caller, progress)
        except (AwsError, FrontDoorError) as error:
            progress.error = (error.code.code, error.message)
            raise
        finally:
            self._record(request_id, operation, request, caller, progress)
        return progress.response

    def _serve(self, operation: str, body: bytes, caller: AuthenticatedCaller, progress: _Progress) -> Response:
        parts = self._parts
        # 4
        parts.modes.charge(caller.account, caller.region)
        # 5
        progress.request = parse_request(operation, body)
        prepared = progress.prepared = parts.kms.prepare(operation, progress.request, caller)
        # 6
        if prepared.recipient_document is not None:
            progress.recipient = parts.checker.check(prepared.recipient_document)
        recipient = progress.recipient
        # 7
        attestation = {} if recipient is None else recipient.context
        for check in prepared.checks:
            parts.enforcement.authorize(check, caller, attestation)
        # 8
        if recipient is not None and not progress.request.get("DryRun"):
            parts.modes.admit_document(recipient.document)
        # 9
        response = prepared.execute(recipient_spki_der=None if recipient is None else recipient.spki_der)
        if operation in POLICY_OPERATIONS:
            self._observe(prepared)
        return response

    def _observe(self, prepared: Prepared) -> None:
        for arn in prepared.key_arns:
            key = self._parts.kms.describe(arn)
            if key is not None:
                self._parts.propagation.observe(key)

    def _record(
        self, request_id: str, operation: str, request: HttpRequest, caller: AuthenticatedCaller, progress: _Progress
    ) -> None:
        outcome = "ok" if progress.response is not None else (progress.error or ("internal", ""))[0]
        attested = "Recipient" in progress.request
        self._parts.counters.add(operation, attested=attested, outcome=outcome)
        self._parts.audit.add(
            Call(
                request_id=request_id,
                operation=operation,
                region=caller.region,
                identity=caller.identity,
                source_ip=request.source_ip,
                user_agent=request.headers.get("user-agent", ""),
                request=progress.request,
                key_arns=() if progress.prepared is None else progress.prepared.key_arns,
                response=progress.response,
                error=progress.error,
                evidence=None if progress.recipient is None else progress.recipient.evidence,
            )
        )


def authenticate(accounts: Accounts, request: HttpRequest, *, service: str, clock: TwinClock) -> AuthenticatedCaller:
    """Return who signed a request.

    Raises:
        FrontDoorError: when nobody known did.
    """
    authorization = parse_authorization(request.headers)
    identity = accounts.of_access_key(
        authorization.access_key_id,
        session_token=request.headers.get("x-amz-security-token"),
        partition=partition_of(authorization.region),
    )
    # Clients sign with the machine's clock, even while the twin's stands still.
    verify_signature(request, authorization, identity.secret_access_key, service=service, now=datetime.now(UTC))
    return authenticated_caller(identity, request, region=authorization.region, now=clock.now())


def partition_of(region: str) -> str:
    """Return the partition that a Region lies in."""
    if region.startswith("us-gov-"):
        return "aws-us-gov"
    return "aws-cn" if region.startswith("cn-") else "aws"
