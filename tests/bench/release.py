"""What attesting costs beside KMS and the NSM: the enclave's own work for each call, in units of its own primitives.

KMS and the NSM answer in this process and are timed; their time is taken off each call. What remains is what a caller
waits for: the key, the commitment, the gate, the envelope, and what botocore does for any call. The signature of the own
document is verified while KMS is waited for, so it shows in the processor's time and not in the caller's; both are
reported.
"""

import base64
import contextlib
import functools
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.chain import ChainCache
from pcrgate.attestation.verifier import Recorded, verify
from pcrgate.envelope.recipient import RecipientKey, open_ciphertext_for_recipient
from pcrgate.errors import ReleaseError
from pcrgate.kms.configuration import AttestedKmsConfiguration
from pcrgate.kms.expectation import ReleaseExpectation
from pcrgate.kms.hooks import AttestedHooks
from pcrgate.kms.key_pool import RecipientKeys
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import KeyArn, Sha384
from tests.bench.figure import Figure, interleaved
from tests.unit.envelope.envelope_writer import Parts, definite

KMS_S = 0.005
"""How long KMS is waited for, as over a network; a twin on loopback takes longer."""

FRESH_CALLS = 60
POOL_CALLS = 300
KEY_ARN = KeyArn.parse("arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-4333-8444-555555555555")
CONTEXT = {"class": "weights", "name": "demo", "epoch": "1"}
REQUEST: dict[str, Any] = {"KeyId": str(KEY_ARN), "CiphertextBlob": bytes(200), "EncryptionContext": CONTEXT}
PKI = DevPki(b"seed of the release benchmark...")
ROOTS = Roots.pinned(PKI.root_fingerprint)
CACHE = ChainCache()


class Outside:
    """Be the NSM and KMS of one client, and add up the seconds that they take."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._nsm = SoftwareNsm(pki=PKI, pcrs={0: Sha384(b"\x01" * 48)})

    def request(self, data: bytes) -> bytes:
        """Answer as the device."""
        start = time.perf_counter()
        answer = self._nsm.request(data)
        self.seconds += time.perf_counter() - start
        return answer

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Answer as KMS."""
        start = time.perf_counter()
        time.sleep(KMS_S)
        body = request.body
        fields = json.loads(body if isinstance(body, bytes) else b"")
        document = base64.b64decode(fields["Recipient"]["AttestationDocument"])
        evidence = verify(document, ROOTS, Recorded(), cache=CACHE)
        public_key = serialization.load_der_public_key(evidence.public_key or b"")
        assert isinstance(public_key, rsa.RSAPublicKey)
        envelope = Parts(public_key=public_key).write()
        response = _response(request, {"CiphertextForRecipient": base64.b64encode(envelope).decode()})
        self.seconds += time.perf_counter() - start
        return response


class _Body:
    """Give the body of a response once, as a raw HTTP response does."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> list[bytes]:
        return [self._content]


def _response(request: AWSPreparedRequest, answer: dict[str, str]) -> AWSResponse:
    content = json.dumps({"KeyId": str(KEY_ARN), "EncryptionAlgorithm": "SYMMETRIC_DEFAULT"} | answer).encode()
    raw: Any = _Body(content)
    headers = HTTPHeaders()
    headers["Content-Length"] = str(len(content))
    return AWSResponse(request.url, 200, headers, raw)


class Ready:
    """Give keys that were made before, as a pool does that is never empty."""

    def __init__(self, private_keys: list[rsa.RSAPrivateKey]) -> None:
        self._private_keys = private_keys
        self._taken = 0

    def take(self) -> RecipientKey:
        """Return the next key."""
        self._taken += 1
        return RecipientKey(self._private_keys[self._taken % len(self._private_keys)])


class TimedFresh:
    """Make each key when it is asked for, and add up how long that takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def take(self) -> RecipientKey:
        """Return a fresh key."""
        start = time.perf_counter()
        private_key = rsa.generate_private_key(65537, 2048)
        self.seconds += time.perf_counter() - start
        return RecipientKey(private_key)


def _plain_client() -> Any:
    return boto3.client(
        "kms",
        region_name=KEY_ARN.region,
        endpoint_url=f"https://kms.{KEY_ARN.region}.amazonaws.com",
        aws_access_key_id="AKIAEXAMPLE",
        aws_secret_access_key="example",
        config=Config(retries={"mode": "standard", "total_max_attempts": 1}),
    )


def _attested(outside: Outside, keys: RecipientKeys) -> Any:
    client = _plain_client()
    configuration = AttestedKmsConfiguration(
        pinned_keys=frozenset({KEY_ARN}),
        expectations=(ReleaseExpectation(operation="Decrypt", key_arn=KEY_ARN, encryption_context=CONTEXT),),
    )
    AttestedHooks(configuration, NsmClient(outside, roots=ROOTS, cache=CACHE), keys, outside).register(
        client.meta.events
    )
    return client


def _oaep_decryption(private_key: rsa.RSAPrivateKey) -> Callable[[], object]:
    label = padding.OAEP(mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=None)
    return functools.partial(private_key.decrypt, private_key.public_key().encrypt(bytes(32), label), label)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _timing(private_key: rsa.RSAPrivateKey) -> list[Figure]:
    """Report how long each way of failing takes beside success: a report, since a shared machine proves no equality."""
    public_key = private_key.public_key()
    other = rsa.generate_private_key(65537, 2048).public_key()
    kinds = {
        "accepted": Parts(public_key=public_key),
        "another recipient id": Parts(public_key=public_key, rid=definite(0x80, bytes(32))),
        "encrypted to another key": Parts(public_key=other, rid=definite(0x80, RecipientKey(private_key).rid)),
        "content key too short": Parts(public_key=public_key, content_key=bytes(16)),
        "wrong padding": Parts(public_key=public_key, padded=bytes(48)),
    }

    def attempt(blob: bytes) -> None:
        with contextlib.suppress(ReleaseError):
            open_ciphertext_for_recipient(blob, RecipientKey(private_key), expected_length_bytes=32)

    seconds = interleaved({name: functools.partial(attempt, parts.write()) for name, parts in kinds.items()}, 25)
    return [
        Figure.plain(f"envelope refused, {name} / accepted", seconds[name] / seconds["accepted"], "x")
        for name in kinds
        if name != "accepted"
    ]


def figures() -> list[Figure]:
    """Measure the overhead of one attested call with a fresh key and with one made before."""
    ready = [rsa.generate_private_key(65537, 2048) for _ in range(8)]
    decrypt_once = _oaep_decryption(ready[0])
    plain = _plain_client()
    canned = base64.b64encode(bytes(32)).decode()
    plain.meta.events.register("before-send.kms", lambda request, **_: _response(request, {"Plaintext": canned}))
    outside, fresh_outside, fresh = Outside(), Outside(), TimedFresh()
    pooled_client, fresh_client = _attested(outside, Ready(ready)), _attested(fresh_outside, fresh)
    for client in (plain, pooled_client):
        for _ in range(20):
            client.decrypt(**REQUEST)

    pooled, ordinary, decryption = [], [], []
    for _ in range(POOL_CALLS):  # in turns, so that a slow moment of the machine hits all three
        before = outside.seconds
        total = _seconds(lambda: pooled_client.decrypt(**REQUEST))
        pooled.append(total - (outside.seconds - before))
        ordinary.append(_seconds(lambda: plain.decrypt(**REQUEST)))
        decryption.append(_seconds(decrypt_once))
    unit, call, base = (statistics.median(values) for values in (decryption, pooled, ordinary))

    hidden = _own_document_s()
    # The time to find primes varies tenfold from key to key: both sides of the ratio are about the same keys.
    fresh_outside.seconds = fresh.seconds = 0.0
    total = sum(_seconds(lambda: fresh_client.decrypt(**REQUEST)) for _ in range(FRESH_CALLS)) - fresh_outside.seconds
    with_fresh = total / (fresh.seconds + FRESH_CALLS * unit)
    return [
        Figure.at_most("overhead with a fresh key / (RSA-2048 generation + one decryption)", with_fresh, "x", 1.6),
        Figure.at_most("overhead with a key made before / RSA-2048 OAEP decryption", (call - base) / unit, "x", 4),
        Figure.plain("the same, with botocore's own work for any call", call / unit, "x"),
        Figure.plain("attesting, with a key made before", (call - base) * 1e3, "ms"),
        Figure.plain(
            "attesting, with the verification that KMS's time hides / RSA-2048 OAEP decryption",
            (call - base + hidden) / unit,
            "x",
        ),
        Figure.plain("botocore's own work", base * 1e3, "ms"),
        Figure.plain("RSA-2048 generation, mean", fresh.seconds / FRESH_CALLS * 1e3, "ms"),
        Figure.plain("RSA-2048 OAEP decryption", unit * 1e3, "ms"),
        Figure.plain("verifying the own document", hidden * 1e3, "ms"),
        *_timing(ready[0]),
    ]


def _own_document_s() -> float:
    own = NsmClient(Outside(), roots=ROOTS, cache=CACHE).attestation(nonce=bytes(32))
    return statistics.median(_seconds(lambda: verify(own.document, ROOTS, Recorded(), cache=CACHE)) for _ in range(101))
