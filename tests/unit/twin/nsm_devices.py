"""Software NSMs for the tests, and how to ask them."""

from typing import Any

import cbor2

from pcrgate.kms.nsm import Nsm
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384

PKI = DevPki(b"test_nsm" * 4)
MODULE = "i-0123456789abcdef0-enc019b8596b1a9dad6"
TPM_MODULE = "i-030a1f233f8348690-tpm0000000000000000"
NOW_MS = 1_767_472_867_402
PCR0 = Sha384(b"\x07" * 48)
ZERO = bytes(48)


class Clock:
    def __init__(self, now_ms: int = NOW_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        return self.now_ms


def enclave(**more: Any) -> SoftwareNsm:
    told: dict[str, Any] = {"pki": PKI, "pcrs": {0: PCR0}, "module_id": MODULE, "clock": Clock(), **more}
    return SoftwareNsm(**told)


def nitrotpm(**more: Any) -> SoftwareNsm:
    return enclave(**{"kind": "nitrotpm", "module_id": TPM_MODULE, "pcrs": {}, **more})


def ask(nsm: Nsm, request: object) -> Any:
    return cbor2.loads(nsm.request(cbor2.dumps(request)))


def attest(nsm: Nsm, **fields: bytes | None) -> bytes:
    answer = ask(nsm, {"Attestation": {"user_data": None, "nonce": None, "public_key": None, **fields}})
    document = answer["Attestation"]["document"]
    assert isinstance(document, bytes)
    return document


def payload_of(document: bytes) -> dict[str, Any]:
    payload = cbor2.loads(cbor2.loads(document)[2])
    assert isinstance(payload, dict)
    return payload
