"""Drive the KMS as a client does: requests through botocore's serializer, answers through botocore's parser."""

import functools
from collections.abc import Mapping
from typing import Any, Final

import pytest
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pcrgate.twin.kms.cms import ContentForm
from pcrgate.twin.kms.interface import AuthorizationCheck, Caller, PolicyGuard, Prepared
from pcrgate.twin.kms.randomness import SeededRandomness
from pcrgate.twin.kms.records import DAY_MS
from pcrgate.twin.kms.request_shape import operation_model
from pcrgate.twin.kms.service import KmsService
from pcrgate.twin.kms.service_errors import AwsCode, AwsError
from pcrgate.twin.kms.store import Store
from pcrgate.twin.kms.wire_json import parse_request, render_error, render_response

ACCOUNT: Final = "111122223333"
OTHER_ACCOUNT: Final = "444455556666"
REGION: Final = "eu-central-1"
OTHER_REGION: Final = "eu-west-1"
START_MS: Final = 1_700_000_000_000


class Twin:
    """One KMS with a clock that stands still until it is told to move."""

    def __init__(
        self,
        *,
        store: Store | None = None,
        guard: PolicyGuard | None = None,
        seed: bytes | None = None,
        content_form: ContentForm = "chunked",
    ) -> None:
        self.now_ms = START_MS
        self.service = KmsService(
            store=store,
            guard=guard,
            clock_ms=lambda: self.now_ms,
            randomness=None if seed is None else SeededRandomness(seed),
            content_form=content_form,
        )

    def pass_days(self, days: float) -> None:
        self.now_ms += round(days * DAY_MS)

    def prepare(
        self, operation: str, *, region: str = REGION, account: str = ACCOUNT, members: Mapping[str, Any]
    ) -> Prepared:
        model = operation_model(operation)
        body = create_serializer("json", include_validation=False).serialize_to_request(dict(members), model)["body"]
        caller = Caller(account=account, region=region, arn=f"arn:aws:iam::{account}:user/someone")
        return self.service.prepare(operation, parse_request(operation, body), caller)

    def checks(self, operation: str, /, **members: Any) -> tuple[AuthorizationCheck, ...]:
        return self._prepare(operation, members)[0].checks

    def call(self, operation: str, /, **members: Any) -> dict[str, Any]:
        """Run an operation. Lower-case members are ours: ``region``, ``account`` and the verified ``spki``."""
        prepared, spki = self._prepare(operation, members)
        answer = prepared.execute(recipient_spki_der=spki)
        shape: Any = operation_model(operation).output_shape
        body = render_response(answer)
        assert set(answer) <= set(shape.members if shape is not None else {}), "a member the API does not have"
        parsed = create_parser("json").parse({"status_code": 200, "headers": {}, "body": body}, shape)
        parsed.pop("ResponseMetadata", None)
        assert set(parsed) == set(answer), "a member that botocore dropped"
        return dict(parsed)

    def _prepare(self, operation: str, members: Mapping[str, Any]) -> tuple[Prepared, bytes | None]:
        own = {"region": REGION, "account": ACCOUNT, "spki": None}
        own |= {name: value for name, value in members.items() if name in own}
        sent = {name: value for name, value in members.items() if name not in own}
        prepared = self.prepare(operation, region=str(own["region"]), account=str(own["account"]), members=sent)
        spki: bytes | None = members.get("spki")
        return prepared, spki

    def refused(self, code: AwsCode, operation: str, /, **members: Any) -> str:
        with pytest.raises(AwsError) as caught:
            self.call(operation, **members)
        assert caught.value.code is code, f"{caught.value}, expected {code.code}"
        assert caught.value.message
        response = {"status_code": code.status, "headers": {}, "body": render_error(caught.value)}
        shape: Any = operation_model(operation).output_shape
        parsed = create_parser("json").parse(response, shape)
        assert parsed["Error"] == {"Code": code.code, "Message": caught.value.message}
        return caught.value.message

    def key(self, **members: Any) -> str:
        """Create a key and return its ARN."""
        return str(self.call("CreateKey", **members)["KeyMetadata"]["Arn"])

    def state(self, arn: str, *, region: str = REGION) -> str:
        return str(self.call("DescribeKey", region=region, KeyId=arn)["KeyMetadata"]["KeyState"])


@functools.cache
def recipient_key() -> rsa.RSAPrivateKey:
    """One RSA key for all tests of a process: making one takes longer than most tests."""
    return rsa.generate_private_key(65537, 2048)


def recipient_spki() -> bytes:
    return (
        recipient_key()
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


RECIPIENT: Final = {"AttestationDocument": b"not looked at here", "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}


def flipped(data: bytes, at: int) -> bytes:
    """Return the bytes with the lowest bit of one of them changed."""
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)
