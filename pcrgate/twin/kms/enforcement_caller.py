"""The caller as the enforcement point knows it: who, with which policies, over which connection."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pcrgate.twin.accounts import Identity
from pcrgate.twin.kms.interface import Caller, ContextValue
from pcrgate.twin.sigv4 import HttpRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticatedCaller(Caller):
    """Extend the caller by what authorisation needs; made only after the signature was verified.

    Attributes:
        identity: principal, policies and tags.
        connection: condition keys of the connection and the moment.
    """

    identity: Identity
    connection: Mapping[str, ContextValue]


def authenticated_caller(
    identity: Identity, request: HttpRequest, *, region: str, now: datetime
) -> AuthenticatedCaller:
    """Return the caller of a request whose signature was verified.

    Args:
        identity: whose signature it is.
        request: the request.
        region: the Region of the credential scope, which stands for the endpoint.
        now: the twin's time, for ``aws:CurrentTime``.
    """
    principal = identity.principal
    return AuthenticatedCaller(
        account=principal.account or "",
        region=region,
        arn=str(principal),
        partition=identity.partition,
        role_arn=principal.role_arn,
        identity=identity,
        connection=_connection(identity, request, region, now),
    )


def _connection(identity: Identity, request: HttpRequest, region: str, now: datetime) -> dict[str, ContextValue]:
    context: dict[str, ContextValue] = {
        "aws:CurrentTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "aws:EpochTime": str(int(now.timestamp())),
        "aws:RequestedRegion": region,
        "aws:SecureTransport": str(request.secure).lower(),
        "aws:SourceIp": request.source_ip,
        "aws:UserAgent": request.headers.get("user-agent", ""),
        "aws:ViaAWSService": "false",
        "aws:userid": identity.user_id,
    }
    if "referer" in request.headers:
        context["aws:Referer"] = request.headers["referer"]
    if identity.session_token is not None:
        context["aws:MultiFactorAuthPresent"] = "false"
    return context | {f"aws:PrincipalTag/{name}": value for name, value in identity.tags.items()}
