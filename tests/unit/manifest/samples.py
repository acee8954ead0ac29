"""A manifest that uses everything, the key it is signed with, and signatures over whatever payload a test thinks up."""

import copy
import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pcrgate.attestation.cbor import encode
from pcrgate.manifest.constraints import Equals, FreeText, IntegerRange, MaxAmount, OneOf, Prefix
from pcrgate.manifest.grants import ActionRule, Argument, Grant, WorkloadRules
from pcrgate.manifest.payload import manifest_value
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.release import Agent, ApprovedImage, Manifest
from pcrgate.manifest.sealed_secret import SealedSecret, SecretClass, SecretFormat, secret_context
from pcrgate.manifest.signature import CONTENT_TYPE, SIGNATURE_LABEL
from pcrgate.manifest.verification import VerifiedManifest, verify_manifest
from pcrgate.units import KeyArn, Sha384

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000


def private_key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(f"pcrgate test key {name}".encode()).digest())


def public_key(name: str) -> VerifyingKey:
    return VerifyingKey(private_key(name).public_key().public_bytes_raw())


def digest(text: str) -> Sha384:
    return Sha384(hashlib.sha384(text.encode()).digest())


def key_arn(number: int, *, multi_region: bool = False) -> KeyArn:
    key_id = f"mrk-{number:032x}" if multi_region else f"00000000-0000-4000-8000-{number:012x}"
    return KeyArn.parse(f"arn:aws:kms:eu-central-1:111122223333:key/{key_id}")


PUBLISHER = "publisher"
WEIGHTS_KEY, CREDENTIALS_KEY, SESSION_KEY = key_arn(1), key_arn(2), key_arn(3)
ALL_KEYS = frozenset({WEIGHTS_KEY, CREDENTIALS_KEY, SESSION_KEY})


def secret(name: str = "tiny", **changes: Any) -> SealedSecret:
    told: dict[str, Any] = {
        "secret_class": SecretClass.WEIGHTS,
        "name": name,
        "epoch": 4,
        "format": SecretFormat.SAFETENSORS,
        "key_arn": WEIGHTS_KEY,
        "header_sha384": digest(f"header of {name}"),
        "frames_sha384": digest(f"frames of {name}"),
        "plaintext_sha384": digest(f"plaintext of {name}"),
        "plaintext_bytes": 90_000_000,
        "workloads": ("infer",),
        "expires_ms": NOW_MS + 20 * DAY_MS,
        **changes,
    }
    context = secret_context(told["secret_class"], told["name"], told["epoch"])
    return SealedSecret(**{"encryption_context": context, **told})


def credentials(name: str = "database", **changes: Any) -> SealedSecret:
    return secret(
        name,
        **{
            "secret_class": SecretClass.CREDENTIALS,
            "format": SecretFormat.OPAQUE,
            "key_arn": CREDENTIALS_KEY,
            "workloads": ("validate",),
            **changes,
        },
    )


PAYMENT = ActionRule(
    action="payments.transfer",
    purposes=("invoice", "refund"),
    max_uses_per_boot=100,
    arguments={
        "amount": Argument(
            constraint=MaxAmount(currency="EUR", max_minor_units=50_000, total_minor_units_per_boot=1_000_000)
        ),
        "to": Argument(constraint=Prefix(prefix="DE", max_bytes=34)),
        "urgent": Argument(constraint=Equals(value=False), required=False),
        "memo": Argument(constraint=FreeText(max_bytes=140), required=False),
    },
)
QUERY = ActionRule(
    action="database.query",
    arguments={
        "table": Argument(constraint=OneOf(values=("orders", "customers"))),
        "rows": Argument(constraint=IntegerRange(minimum=1, maximum=500, total_per_boot=10_000)),
    },
)
INFER = ActionRule(action="tiny", arguments={"tokens": Argument(constraint=IntegerRange(minimum=1, maximum=256))})


def grant(agent: str = "alice", workload: str = "validate", **changes: Any) -> Grant:
    actions = (PAYMENT, QUERY) if workload == "validate" else (INFER,)
    told: dict[str, Any] = {
        "actions": actions,
        "expires_ms": NOW_MS + 10 * DAY_MS,
        "max_uses_per_boot": 1000,
        **changes,
    }
    return Grant(agent=agent, workload=workload, **told)


def manifest(**changes: Any) -> Manifest:
    told: dict[str, Any] = {
        "epoch": 7,
        "issued_ms": NOW_MS - DAY_MS,
        "expires_ms": NOW_MS + 30 * DAY_MS,
        "secrets": (secret(), credentials()),
        "session_key_arn": SESSION_KEY,
        "agents": (
            Agent(name="alice", public_key=public_key("alice")),
            Agent(name="bob", public_key=public_key("bob")),
        ),
        "grants": (grant(), grant("bob", "infer"), grant("alice", "infer")),
        "rules": (WorkloadRules(workload="validate", actions=(PAYMENT, QUERY)),),
        "images": (
            ApprovedImage(name="v1", pcrs={0: digest("image"), 8: digest("signer")}, expires_ms=NOW_MS + DAY_MS),
        ),
        **changes,
    }
    return Manifest(**told)


def value(change: Callable[[Any], object] | None = None, **changes: Any) -> Any:
    """The plain value of the manifest, changed in place."""
    made = copy.deepcopy(manifest_value(manifest(**changes)))
    if change is not None:
        change(made)
    return made


def sign_payload(
    payload: bytes,
    *,
    signer: str = PUBLISHER,
    label: bytes = SIGNATURE_LABEL,
    header: Any = None,
    unprotected: Any = None,
    tag: bytes = b"\xd2",
) -> bytes:
    """Sign any payload, in any envelope: what a publisher's broken or hostile tool could do."""
    protected = encode(header or {1: -8, 3: CONTENT_TYPE, 4: public_key(signer).key_id})
    signature = private_key(signer).sign(encode(("Signature1", protected, label, payload)))
    return tag + encode([protected, {} if unprotected is None else unprotected, payload, signature])


def signed(change: Callable[[Any], object] | None = None, **changes: Any) -> bytes:
    """Sign the changed value, whatever it is by now."""
    return sign_payload(encode(value(change, **changes)))


def verified(data: bytes, **changes: Any) -> VerifiedManifest:
    told: dict[str, Any] = {
        "publisher_keys": [public_key(PUBLISHER)],
        "floor_epoch": 7,
        "now_ms": NOW_MS,
        "pinned_keys": ALL_KEYS,
        **changes,
    }
    return verify_manifest(data, **told)
