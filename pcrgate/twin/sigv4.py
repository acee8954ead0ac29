"""Signature Version 4 as a service checks it: the header parsed, the request hashed, the signature compared.

Written from the specification and apart from botocore, so that the signer cannot excuse the checker.
Spec: IAM User Guide, "Create a signed AWS API request" and "Troubleshoot Signature Version 4 signing".
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote

from pcrgate.twin.faults import FaultCode, FrontDoorError

MAX_SKEW_S: Final = 300
"""Furthest a signature's date may lie from the machine's clock, in seconds: five minutes, as AWS allows."""

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_DATE: Final = re.compile(r"\d{8}T\d{6}Z")
_PART: Final = re.compile(r"(Credential|SignedHeaders|Signature)=([^\s,]+)")
_SPACES: Final = re.compile(r" +")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """Hold one request as it came over the wire.

    Attributes:
        method: the HTTP method.
        path: the path, percent-decoded.
        query: the raw query string.
        headers: by lower-case name.
        body: the raw body.
        source_ip: the peer's address.
        secure: whether it came over TLS.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    source_ip: str
    secure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """Hold a parsed, unverified ``Authorization`` header.

    Attributes:
        access_key_id: who claims to have signed.
        date: the scope's date, ``YYYYMMDD``.
        region: the scope's Region.
        service: the scope's service.
        signed_headers: lower-case names, in the order given.
        signature: 64 lower-case hex digits, claimed.
    """

    access_key_id: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


def parse_authorization(headers: Mapping[str, str]) -> Authorization:
    """Read the ``Authorization`` header without believing it.

    Raises:
        FrontDoorError: ``MissingAuthenticationTokenException`` or ``IncompleteSignatureException``.
    """
    header = headers.get("authorization", "")
    if not header:
        raise FrontDoorError(FaultCode.MISSING_TOKEN, "Missing Authentication Token")
    algorithm, _, rest = header.partition(" ")
    if algorithm != _ALGORITHM:
        raise FrontDoorError(FaultCode.INCOMPLETE_SIGNATURE, f"Unsupported AWS 'algorithm': '{algorithm[:40]}'.")
    pieces = [piece.strip() for piece in rest.split(",")]
    matches = [_PART.fullmatch(piece) for piece in pieces]
    parts = {match.group(1): match.group(2) for match in matches if match is not None}
    if len(pieces) != 3 or len(parts) != 3:
        message = "Authorization header requires exactly 'Credential', 'SignedHeaders' and 'Signature' parameters."
        raise FrontDoorError(FaultCode.INCOMPLETE_SIGNATURE, message)
    scope = parts["Credential"].split("/")
    if len(scope) != 5 or scope[4] != "aws4_request":
        message = "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term."
        raise FrontDoorError(FaultCode.INCOMPLETE_SIGNATURE, message)
    return Authorization(
        access_key_id=scope[0],
        date=scope[1],
        region=scope[2],
        service=scope[3],
        signed_headers=tuple(parts["SignedHeaders"].split(";")),
        signature=parts["Signature"],
    )


def verify_signature(
    request: HttpRequest, authorization: Authorization, secret_access_key: str, *, service: str, now: datetime
) -> None:
    """Make sure that the holder of the secret signed this very request, now.

    The steps: 1 scope, 2 every header that steers the request is signed, 3 date, 4 signature.

    Args:
        request: the request as it came.
        authorization: its parsed header.
        secret_access_key: what the twin has for the access key id.
        service: the service that the scope must name.
        now: the machine's clock; clients sign with theirs.

    Raises:
        FrontDoorError: ``InvalidSignatureException`` or ``IncompleteSignatureException``.
    """
    # 1
    if authorization.service != service:
        message = f"Credential should be scoped to correct service: '{service}'. "
        raise FrontDoorError(FaultCode.INVALID_SIGNATURE, message)
    # 2: an unsigned x-amz-target would let a relay turn one operation into another.
    steering = {name for name in request.headers if name.startswith("x-amz-")} | {"host"}
    for name in sorted(steering - set(authorization.signed_headers)):
        message = f"'{name}' must be a 'SignedHeader' in the AWS Authorization."
        raise FrontDoorError(FaultCode.INVALID_SIGNATURE, message)
    # 3
    stamp = request.headers.get("x-amz-date", "")
    if not _DATE.fullmatch(stamp):
        message = "Date must be in ISO-8601 'basic format'. See http://en.wikipedia.org/wiki/ISO_8601"
        raise FrontDoorError(FaultCode.INCOMPLETE_SIGNATURE, message)
    _check_date(stamp, authorization.date, now)
    # 4
    expected = _signature(request, authorization, secret_access_key, stamp)
    if not hmac.compare_digest(expected.encode(), authorization.signature.encode()):
        message = (
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            "Access Key and signing method. Consult the service documentation for details."
        )
        raise FrontDoorError(FaultCode.INVALID_SIGNATURE, message)


def _check_date(stamp: str, scope_date: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        message = "Date must be in ISO-8601 'basic format'. See http://en.wikipedia.org/wiki/ISO_8601"
        raise FrontDoorError(FaultCode.INCOMPLETE_SIGNATURE, message) from None
    if stamp[:8] != scope_date:
        message = f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date: '{scope_date}'."
        raise FrontDoorError(FaultCode.INVALID_SIGNATURE, message)
    skew_s = (signed_at - now).total_seconds()
    bound = f"{now:%Y%m%dT%H%M%SZ}"
    if skew_s < -MAX_SKEW_S:
        raise FrontDoorError(FaultCode.INVALID_SIGNATURE, f"Signature expired: {stamp} is now earlier than {bound}.")
    if skew_s > MAX_SKEW_S:
        raise FrontDoorError(
            FaultCode.INVALID_SIGNATURE, f"Signature not yet current: {stamp} is still later than {bound}."
        )


def _signature(request: HttpRequest, authorization: Authorization, secret_access_key: str, stamp: str) -> str:
    scope = f"{authorization.date}/{authorization.region}/{authorization.service}/aws4_request"
    hashed = hashlib.sha256(_canonical_request(request, authorization.signed_headers).encode()).hexdigest()
    to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashed}"
    key = ("AWS4" + secret_access_key).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, to_sign.encode(), "sha256").hex()


def _canonical_request(request: HttpRequest, signed_headers: tuple[str, ...]) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(request.query, keep_blank_values=True)
    )
    lines = [
        request.method,
        quote(request.path, safe="/-_.~"),
        "&".join(f"{name}={value}" for name, value in pairs),
        *(f"{name}:{_SPACES.sub(' ', request.headers.get(name, '').strip())}" for name in signed_headers),
        "",
        ";".join(signed_headers),
        hashlib.sha256(request.body).hexdigest(),
    ]
    return "\n".join(lines)
