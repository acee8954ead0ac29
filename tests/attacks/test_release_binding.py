"""Group B: whoever relays cannot choose what is released, which key opens it, or whose answer it is.

Each attack is played against the real client over TLS. Beside it stands the mutant: the same attack with the one check
removed must get through, or the check was not what stopped it.
"""

import base64
import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import BotoCoreError

from pcrgate.envelope import recipient, recipient_ber
from pcrgate.errors import ErrorCode, PcrgateError, ReleaseError
from pcrgate.kms import answers, configuration, expectation, hooks
from pcrgate.kms.client import attested_kms_client
from pcrgate.kms.configuration import AttestedKmsConfiguration
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.units import KeyArn, Sha384
from tests.attacks.mutants import mutant, succeeds
from tests.unit.envelope.envelope_writer import OAEP, definite
from tests.unit.kms.scripted_kms import (
    BLOB,
    CONTEXT,
    DATA_KEY,
    KEY_ARN,
    OTHER_ARN,
    Answer,
    KmsRequest,
    ScriptedKms,
    StaticCredentials,
    honest,
    nsm_client,
)

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

DECRYPT: dict[str, Any] = {"CiphertextBlob": BLOB, "KeyId": str(KEY_ARN), "EncryptionContext": CONTEXT}
PINNED_BLOB = ReleaseExpectation(
    operation="Decrypt",
    key_arn=KEY_ARN,
    encryption_context=CONTEXT,
    blob_sha384=Sha384(hashlib.sha384(BLOB).digest()),
    plaintext_bytes=32,
)
Check = tuple[ModuleType, str, str]


@pytest.fixture(scope="module")
def kms() -> Iterator[ScriptedKms]:
    with ScriptedKms() as running:
        yield running


@pytest.fixture(scope="module")
def client(kms: ScriptedKms) -> Iterator["KMSClient"]:
    made = attested_kms_client(
        kms.configuration(expectations=(PINNED_BLOB,)),
        nsm=nsm_client(),
        dialer=kms.dialer,
        credentials=StaticCredentials(),
    )
    yield made
    made.close()


def play(kms: ScriptedKms, answer: Callable[[KmsRequest], Answer], attack: Callable[[], object]) -> PcrgateError | None:
    """Play one attack and return its refusal, or None when it got through."""
    kms.answer = answer
    kms.requests.clear()
    try:
        attack()
    except PcrgateError as refused:
        return refused
    finally:
        kms.answer = honest
    return None


# What the parent puts into the request: refused before KMS hears of it (B1, B2, B3, B5).
REQUESTS: dict[str, tuple[dict[str, Any], ErrorCode, Check]] = {
    "B1 another valid blob under the same key": (
        {"CiphertextBlob": b"another wrapped key"},
        ErrorCode.KMS_CONTEXT,
        (expectation, "hmac.compare_digest(hashlib.sha384(blob).digest(), self.blob_sha384.digest)", "True"),
    ),
    "B2 blob and context of another secret": (
        {"CiphertextBlob": BLOB, "EncryptionContext": CONTEXT | {"name": "foreign"}},
        ErrorCode.KMS_CONTEXT,
        (expectation, 'parameters.get("EncryptionContext", {}) == dict(self.encryption_context)', "True"),
    ),
    "B3 a blob that the parent minted under the right context": (
        {"CiphertextBlob": b"minted by the parent"},
        ErrorCode.KMS_CONTEXT,
        (expectation, "self.blob_sha384 is None", "True"),
    ),
    "B5 another key of the account": (
        {"KeyId": str(OTHER_ARN)},
        ErrorCode.KMS_KEY_NOT_PINNED,
        (hooks, "type(key_id) is not str or key_id not in self._pinned", "False"),
    ),
    "B7 an alias": (
        {"KeyId": "alias/weights"},
        ErrorCode.KMS_KEY_NOT_PINNED,
        (hooks, "type(key_id) is not str or key_id not in self._pinned", "False"),
    ),
}
LOOSE = {"B5 another key of the account", "B7 an alias"}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_that_was_not_expected_does_not_leave(kms: ScriptedKms, client: "KMSClient", name: str) -> None:
    changes, code, _ = REQUESTS[name]
    refused = play(kms, honest, lambda: client.decrypt(**DECRYPT | changes))
    assert refused is not None
    assert refused.code is code
    assert kms.requests == []


@pytest.mark.parametrize("name", REQUESTS)
def test_without_the_check_it_leaves(kms: ScriptedKms, client: "KMSClient", name: str) -> None:
    changes, _, (module, old, new) = REQUESTS[name]
    echo = lambda request: (200, dict(honest(request)[1]) | {"KeyId": request.fields["KeyId"]})  # noqa: E731
    with mutant(module, old, new):
        if name in LOOSE:  # the expectation is the second line behind the pinned keys
            with mutant(expectation, 'parameters.get("KeyId") == str(self.key_arn)', "True"):
                assert play(kms, echo, lambda: client.decrypt(**DECRYPT | changes)) is None
        else:
            assert play(kms, echo, lambda: client.decrypt(**DECRYPT | changes)) is None
    assert len(kms.requests) == 1


def answering(**changes: Any) -> Callable[[KmsRequest], Answer]:
    """Return a script that bends fields of the honest answer; None takes a field out."""

    def script(request: KmsRequest) -> Answer:
        bent = {name: value(request) if callable(value) else value for name, value in changes.items()}
        return 200, {name: value for name, value in (dict(honest(request)[1]) | bent).items() if value is not None}

    return script


def resealed(edit: Callable[[bytes], bytes], **changes: Any) -> Callable[[KmsRequest], str]:
    """Return a maker of ciphertext for recipient, bent by the writer or edited after it."""
    return lambda request: base64.b64encode(edit(base64.b64decode(request.sealed(**changes)))).decode()


def same(blob: bytes) -> bytes:
    return blob


PLAIN = base64.b64encode(DATA_KEY).decode()
FOREIGN = str(KEY_ARN).replace("123456789012", "210987654321")
SHA1_OAEP = definite(
    0x30,
    bytes.fromhex("06092a864886f70d010107")
    + definite(0x30, definite(0xA0, bytes.fromhex("300906052b0e03021a0500")) + OAEP[32:]),
)
# What comes back instead of KMS's answer (B6, B9 to B12): one error for all of it.
ANSWERS: dict[str, tuple[Callable[[KmsRequest], Answer], Check]] = {
    "B6 another KeyId": (
        answering(KeyId=str(OTHER_ARN)),
        (answers, 'parsed.get("KeyId") != expected.key_id', "False"),
    ),
    "B6 a bare KeyId": (
        answering(KeyId=KEY_ARN.key_id),
        (answers, 'parsed.get("KeyId") != expected.key_id', "False"),
    ),
    "B8 the key of another account": (
        answering(KeyId=FOREIGN),
        (answers, 'parsed.get("KeyId") != expected.key_id', "False"),
    ),
    "B6 no KeyId": (answering(KeyId=None), (answers, 'parsed.get("KeyId") != expected.key_id', "False")),
    "B11 plaintext beside the envelope": (
        answering(Plaintext=PLAIN),
        (answers, "any(parsed.get(name) for name in PLAINTEXT_FIELDS)", "False"),
    ),
    "B12 another algorithm": (
        answering(EncryptionAlgorithm="RSAES_OAEP_SHA_256"),
        (answers, 'parsed.get("EncryptionAlgorithm", "SYMMETRIC_DEFAULT") != "SYMMETRIC_DEFAULT"', "False"),
    ),
    "B12 another recipient id": (
        answering(CiphertextForRecipient=resealed(same, rid=definite(0x80, bytes(32)))),
        (recipient, "hmac.compare_digest(envelope.rid, key.rid)", "True"),
    ),
    "B12 trailing bytes": (
        answering(CiphertextForRecipient=resealed(lambda blob: blob + b"\x00")),
        (recipient_ber, "        reader.end()\n    reader.finish()", "        reader.end()"),
    ),
    "B12 two recipients": (
        answering(CiphertextForRecipient=resealed(same, extra_recipient=definite(0x30, b"\x02\x01\x02"))),
        (recipient_ber, "    recipients.finish()\n", "\n"),
    ),
    "B12 a data key of another length": (
        answering(CiphertextForRecipient=resealed(same, plaintext=bytes(16))),
        (recipient, "expected_length_bytes is None or len(plaintext) == expected_length_bytes", "True"),
    ),
    "B12 a content key of 16 bytes": (
        answering(CiphertextForRecipient=resealed(same, content_key=bytes(16))),
        (
            recipient,
            "if len(content_key) == _CONTENT_KEY_BYTES else (stand_in, False)",
            "if False else (bytes(32), True)",
        ),
    ),
    "B10 wrong padding": (
        answering(CiphertextForRecipient=resealed(same, padded=DATA_KEY + b"\x00" * 15 + b"\x10")),
        (recipient, "    return plaintext, not wrong", "    return SecretBytes(bytes(32)), True"),
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_that_is_not_as_it_must_be_is_refused_alike(kms: ScriptedKms, client: "KMSClient", name: str) -> None:
    refused = play(kms, ANSWERS[name][0], lambda: client.decrypt(**DECRYPT))
    assert refused is not None
    assert refused.code is ErrorCode.KMS_RESPONSE
    assert str(refused) == str(play(kms, answering(CiphertextForRecipient=None), lambda: client.decrypt(**DECRYPT)))


@pytest.mark.parametrize("name", ANSWERS)
def test_without_the_check_the_answer_is_taken(kms: ScriptedKms, client: "KMSClient", name: str) -> None:
    answer, (module, old, new) = ANSWERS[name]
    with mutant(module, old, new):
        assert play(kms, answer, lambda: client.decrypt(**DECRYPT)) is None


ODD = {
    "missing": None,
    "empty": "",
    "not CMS": "AAAA",
    "too long": base64.b64encode(bytes(7000)).decode(),
    "of another key": base64.b64encode(b"\x30\x80" + bytes(400)).decode(),
}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_envelope_is_refused_alike(kms: ScriptedKms, client: "KMSClient", name: str) -> None:
    refused = play(kms, answering(CiphertextForRecipient=ODD[name]), lambda: client.decrypt(**DECRYPT))
    assert refused is not None
    assert refused.code is ErrorCode.KMS_RESPONSE


def test_sha1_in_oaep_is_refused(kms: ScriptedKms, client: "KMSClient") -> None:
    bent = answering(CiphertextForRecipient=resealed(same, oaep=SHA1_OAEP))
    refused = play(kms, bent, lambda: client.decrypt(**DECRYPT))
    assert refused is not None
    assert refused.code is ErrorCode.KMS_RESPONSE


def test_a_plaintext_without_recipient_is_refused(kms: ScriptedKms, client: "KMSClient") -> None:
    bare = answering(Plaintext=PLAIN, CiphertextForRecipient=None)
    refused = play(kms, bare, lambda: client.decrypt(**DECRYPT))
    assert refused is not None
    assert refused.code is ErrorCode.KMS_RESPONSE


def test_a_replayed_answer_to_an_earlier_request_is_refused(kms: ScriptedKms, client: "KMSClient") -> None:
    kept: list[Answer] = []

    def keep(request: KmsRequest) -> Answer:
        kept.append(honest(request))
        return kept[0]

    assert play(kms, keep, lambda: client.decrypt(**DECRYPT)) is None
    refused = play(kms, keep, lambda: client.decrypt(**DECRYPT))
    assert refused is not None
    assert refused.code is ErrorCode.KMS_RESPONSE


def test_without_a_fresh_key_a_replayed_answer_is_taken(kms: ScriptedKms) -> None:
    from pcrgate.envelope.recipient import RecipientKey

    class OneKey:
        private_key = RecipientKey.generate().take()

        def take(self) -> RecipientKey:
            return RecipientKey(self.private_key)

    reusing = attested_kms_client(
        kms.configuration(),
        nsm=nsm_client(),
        dialer=kms.dialer,
        credentials=StaticCredentials(),
        recipient_keys=OneKey(),
    )
    kept: list[Answer] = []

    def keep(request: KmsRequest) -> Answer:
        kept.append(honest(request))
        return kept[0]

    assert play(kms, keep, lambda: reusing.decrypt(**DECRYPT)) is None
    assert play(kms, keep, lambda: reusing.decrypt(**DECRYPT)) is None
    reusing.close()


# B13 and B15: what is sent is what was attested.
def with_handler(
    client: "KMSClient", handler: Callable[..., None], attack: Callable[[], object]
) -> Callable[[], object]:
    """Return the attack with a handler on botocore's event that comes after ours, as other code in reach could."""

    def run() -> object:
        client.meta.events.register_last("request-created.kms", handler)
        try:
            return attack()
        finally:
            client.meta.events.unregister("request-created.kms", handler)

    return run


def other_operation(request: Any, **_: object) -> None:
    request.headers.replace_header("X-Amz-Target", "TrentService.GenerateDataKey")


def without_recipient(request: Any, **_: object) -> None:
    import json

    fields = json.loads(request.data)
    del fields["Recipient"]
    request.data = json.dumps(fields).encode()


def other_context(request: Any, **_: object) -> None:
    request.data = request.data.replace(b'"demo"', b'"evil"')


def other_host(request: Any, **_: object) -> None:
    request.url = "https://kms.us-east-1.amazonaws.com/"


REWRITES: dict[str, tuple[Callable[..., None], ErrorCode, Check]] = {
    "B13 the document on another operation": (
        other_operation,
        ErrorCode.KMS_OPERATION,
        (
            hooks,
            "target not in (_TARGET_PREFIX + pending.operation, (_TARGET_PREFIX + pending.operation).encode())",
            "False",
        ),
    ),
    "B15 the recipient left out": (
        without_recipient,
        ErrorCode.KMS_REQUEST,
        (hooks, "wire_commitment(pending.operation, body) != (pending.commitment, pending.document)", "False"),
    ),
    "B2 the context changed after attesting": (
        other_context,
        ErrorCode.KMS_REQUEST,
        (hooks, "wire_commitment(pending.operation, body) != (pending.commitment, pending.document)", "False"),
    ),
    "B7 another endpoint": (
        other_host,
        ErrorCode.KMS_ENDPOINT,
        (hooks, 'request.method != "POST" or request.url != self._configuration.endpoint_url + "/"', "False"),
    ),
}


@pytest.mark.parametrize("name", REWRITES)
def test_a_request_rewritten_after_attesting_does_not_leave(kms: ScriptedKms, client: "KMSClient", name: str) -> None:
    handler, code, _ = REWRITES[name]
    refused = play(kms, honest, with_handler(client, handler, lambda: client.decrypt(**DECRYPT)))
    assert refused is not None
    assert refused.code is code
    assert kms.requests == []


@pytest.mark.parametrize("name", REWRITES)
def test_without_the_gate_it_leaves(kms: ScriptedKms, client: "KMSClient", name: str) -> None:
    handler, _, (module, old, new) = REWRITES[name]
    kms.requests.clear()
    with mutant(module, old, new), suppress(BotoCoreError, PcrgateError):
        with_handler(client, handler, lambda: client.decrypt(**DECRYPT))()
    assert len(kms.requests) == 1


# B7 in the configuration.
def test_pinned_keys_of_two_regions_do_not_make_a_client() -> None:
    elsewhere = KeyArn.parse(str(KEY_ARN).replace("eu-central-1", "us-east-1"))

    def confuse() -> AttestedKmsConfiguration:
        return AttestedKmsConfiguration(pinned_keys=frozenset({KEY_ARN, elsewhere}))

    with pytest.raises(ReleaseError):
        confuse()
    with mutant(configuration, "len(places) != 1", "False"):
        assert succeeds(confuse)


def test_a_replica_is_not_taken_for_its_primary() -> None:
    replica = KeyArn.parse("arn:aws:kms:eu-central-1:123456789012:key/mrk-" + "0" * 32)

    def confuse() -> AttestedKmsConfiguration:
        return AttestedKmsConfiguration(pinned_keys=frozenset({replica}))

    with pytest.raises(ReleaseError):
        confuse()
    with mutant(configuration, "not self.allow_multi_region and any(", "False and any("):
        assert succeeds(confuse)
