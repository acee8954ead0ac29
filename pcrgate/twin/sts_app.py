"""What moto's STS leaves out: who the bootstrap keys are, and the managed policies that narrow a session.

Everything is still answered by moto except ``GetCallerIdentity`` of a root user. Trust policies are not judged: moto
gives a session of any role to anybody.
Spec: STS API Reference, GetCallerIdentity, AssumeRole (PolicyArns).
"""

import io
import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from pcrgate.twin.accounts import Accounts
from pcrgate.twin.clock import TwinClock
from pcrgate.twin.faults import FrontDoorError
from pcrgate.twin.http_edge import StartResponse, read_request, respond
from pcrgate.twin.kms_app import authenticate
from pcrgate.twin.sigv4 import parse_authorization

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
"""A WSGI application. Spec: PEP 3333."""

_XML: Final = "text/xml"
_POLICY_ARN: Final = re.compile(r"PolicyArns\.member\.\d+\.arn")
_ACCESS_KEY_ID: Final = re.compile(rb"<AccessKeyId>(\w+)</AccessKeyId>")
_IDENTITY: Final = (
    '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
    "<Arn>{arn}</Arn><UserId>{user_id}</UserId><Account>{account}</Account></GetCallerIdentityResult>"
    "<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata>"
    "</GetCallerIdentityResponse>"
)
_ERROR: Final = (
    '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
    "<Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
)


class StsApp:
    """Answer for root users, remember what narrows sessions, and hand everything on to moto."""

    def __init__(self, *, accounts: Accounts, clock: TwinClock, otherwise: WsgiApp) -> None:
        self._accounts = accounts
        self._clock = clock
        self._otherwise = otherwise

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request. Spec: PEP 3333."""
        try:
            request = read_request(environ)
            members = dict(parse_qsl(request.body.decode(errors="replace")))
            if members.get("Action") == "GetCallerIdentity":
                authorization = parse_authorization(request.headers)
                if self._accounts.is_bootstrap(authorization.access_key_id):
                    caller = authenticate(self._accounts, request, service="sts", clock=self._clock)
                    user_id = caller.identity.user_id
                    told = _IDENTITY.format(arn=caller.arn, user_id=user_id, account=caller.account)
                    return respond(start_response, 200, told.encode(), content_type=_XML)
        except FrontDoorError as error:
            told = _ERROR.format(code=error.code.code, message=escape(error.message))
            return respond(start_response, error.code.status, told.encode(), content_type=_XML)
        arns = [value for name, value in members.items() if _POLICY_ARN.fullmatch(name)]
        body = b"".join(self._otherwise(environ | {"wsgi.input": io.BytesIO(request.body)}, start_response))
        made = _ACCESS_KEY_ID.search(body)
        if arns and made is not None:
            self._accounts.narrow_session(made.group(1).decode(), arns)
        return [body]
