"""Every manifest vector: what is wrong with it, and what must be said of it."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

from pcrgate.attestation.cbor import encode
from pcrgate.errors import ErrorCode
from pcrgate.manifest.payload import encode_payload
from pcrgate.manifest.public_keys import VerifyingKey
from pcrgate.manifest.release import IMAGES_MAX, LIFETIME_MAX_MS
from pcrgate.manifest.sealed_secret import CONTEXT_MAX_BYTES, CONTEXT_PAIRS_MAX, EPOCH_MAX, WORKLOADS_MAX
from pcrgate.manifest.signature import CONTENT_TYPE
from pcrgate.manifest.verification import FUTURE_SKEW_MAX_MS
from tests.unit.manifest.samples import (
    ALL_KEYS,
    DAY_MS,
    NOW_MS,
    PUBLISHER,
    key_arn,
    manifest,
    public_key,
    sign_payload,
    signed,
    value,
)
from tests.vectors_manifest.vector import ACCEPTED, Vector, judge

Change = Callable[[Any], object]

SMALL_ORDER = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
GOOD = signed()


def vectors() -> Iterator[Vector]:
    """Every vector, accepted ones first."""
    yield from _accepted()
    yield from _envelopes()
    for name, description, expect, change in PAYLOADS:
        yield _vector(f"reject-{name}", description, signed(change), expect)
    for name, description, expect, raw in _encodings():
        yield _vector(f"reject-{name}", description, sign_payload(raw), expect)
    yield from _judgements()


def _vector(
    name: str,
    description: str,
    data: bytes,
    expect: str | ErrorCode,
    *,
    keys: tuple[VerifyingKey, ...] = (public_key(PUBLISHER),),
    floor: int = 7,
    now_ms: int = NOW_MS,
    pinned: frozenset[Any] | None = ALL_KEYS,
) -> Vector:
    vector = Vector(
        name=name,
        description=description,
        now_ms=now_ms,
        floor_epoch=floor,
        publisher_keys=tuple(key.public_bytes.hex() for key in keys),
        pinned_keys=None if pinned is None else tuple(sorted(map(str, pinned))),
        signed=base64.b64encode(data).decode(),
        expect=expect.code if isinstance(expect, ErrorCode) else expect,
        fields=None,
    )
    if vector.expect != ACCEPTED:
        return vector
    # An accepted vector also says what was read; the contract test compares it with what cbor2 reads.
    return Vector(**{**{field: getattr(vector, field) for field in Vector.__slots__}, "fields": judge(vector)[1]})


def _accepted() -> Iterator[Vector]:
    yield _vector("accept-everything", "every kind of entry, constraint and bound in use", GOOD, ACCEPTED)
    bare = signed(secrets=(), session_key_arn=None, agents=(), grants=(), rules=(), images=())
    yield _vector("accept-empty", "no entries at all", bare, ACCEPTED)
    keys = (public_key("alice"), public_key(PUBLISHER))
    yield _vector("accept-second-publisher", "signed by the second of two publishers", GOOD, ACCEPTED, keys=keys)
    yield _vector("accept-unpinned", "single-Region keys, nothing pinned", GOOD, ACCEPTED, pinned=None)
    yield _vector("accept-above-floor", "an epoch above the floor", GOOD, ACCEPTED, floor=6)
    last = NOW_MS + 30 * DAY_MS - 1
    yield _vector("accept-last-millisecond", "one millisecond before expiry", GOOD, ACCEPTED, now_ms=last)
    early = NOW_MS - DAY_MS - FUTURE_SKEW_MAX_MS
    yield _vector("accept-future-skew", "issued exactly the allowed skew ahead", GOOD, ACCEPTED, now_ms=early)
    listed = signed(session_key_arn=key_arn(9, multi_region=True))
    pinned = ALL_KEYS | {key_arn(9, multi_region=True)}
    yield _vector("accept-multi-region-listed", "a multi-Region key that is pinned", listed, ACCEPTED, pinned=pinned)
    longest = signed(issued_ms=NOW_MS, expires_ms=NOW_MS + LIFETIME_MAX_MS)
    yield _vector("accept-longest-lifetime", "valid for exactly 400 days", longest, ACCEPTED)


def _envelopes() -> Iterator[Vector]:
    def case(name: str, description: str, data: bytes, code: ErrorCode = ErrorCode.MANIFEST_ENVELOPE) -> Vector:
        return _vector(f"reject-{name}", description, data, code)

    payload = encode_payload(manifest())
    key_id = public_key(PUBLISHER).key_id
    protected = encode({1: -8, 3: CONTENT_TYPE, 4: key_id})
    yield case("size-empty", "no bytes", b"", ErrorCode.MANIFEST_SIZE)
    yield case("envelope-untagged", "without tag 18", GOOD[1:])
    yield case("envelope-tag-98", "tag 98, COSE_Sign", sign_payload(payload, tag=b"\xd8\x62"))
    yield case("envelope-tag-17", "tag 17, COSE_Mac0", sign_payload(payload, tag=b"\xd1"))
    yield case("envelope-tag-twice", "tag 18 twice", b"\xd2" + GOOD)
    yield case("envelope-trailing", "a byte after the envelope", GOOD + b"\x00")
    yield case("envelope-truncated", "the last byte is missing", GOOD[:-1])
    yield case("envelope-map", "a map instead of the array", b"\xd2" + encode({1: 2}))
    yield case("envelope-three", "an array of three", b"\xd2" + encode([protected, {}, payload]))
    es384 = {1: -35, 3: CONTENT_TYPE, 4: key_id}
    yield case("envelope-algorithm", "ES384 in the header", sign_payload(payload, header=es384))
    other = {1: -8, 3: "application/cbor", 4: key_id}
    yield case("envelope-content-type", "another content type", sign_payload(payload, header=other))
    yield case("envelope-no-key-id", "no key id", sign_payload(payload, header={1: -8, 3: CONTENT_TYPE}))
    short = {1: -8, 3: CONTENT_TYPE, 4: key_id[:15]}
    yield case("envelope-key-id-short", "a key id of 15 bytes", sign_payload(payload, header=short))
    extra = {1: -8, 3: CONTENT_TYPE, 4: key_id, 5: b""}
    yield case("envelope-header-extra", "a further protected header", sign_payload(payload, header=extra))
    yield case("envelope-unprotected", "an unprotected header", sign_payload(payload, unprotected={4: key_id}))
    text = b"\xd2" + encode([protected.hex(), {}, payload, bytes(64)])
    yield case("envelope-protected-text", "the protected header is text", text)
    yield case("envelope-payload-null", "a detached payload", b"\xd2" + encode([protected, {}, None, bytes(64)]))
    yield case("envelope-payload-empty", "an empty payload", b"\xd2" + encode([protected, {}, b"", bytes(64)]))
    yield case("envelope-signature-short", "63 bytes", b"\xd2" + encode([protected, {}, payload, bytes(63)]))
    yield case("envelope-signature-text", "text", b"\xd2" + encode([protected, {}, payload, "x" * 64]))

    stranger = sign_payload(payload, signer="alice")
    yield case("signer-unknown", "a key that is not trusted", stranger, ErrorCode.MANIFEST_SIGNER)
    no_keys = _vector("reject-signer-none", "no publisher is trusted", GOOD, ErrorCode.MANIFEST_SIGNER, keys=())
    yield no_keys
    zero = b"\xd2" + encode([protected, {}, payload, bytes(64)])
    yield case("signature-zero", "64 zero bytes", zero, ErrorCode.MANIFEST_SIGNATURE)
    forged = sign_payload(payload, signer="alice", header={1: -8, 3: CONTENT_TYPE, 4: key_id})
    yield case("signature-forged", "the publisher's key id, another's signature", forged, ErrorCode.MANIFEST_SIGNATURE)
    changed = bytearray(GOOD)
    changed[len(GOOD) // 2] ^= 1
    yield case("signature-payload-flipped", "one bit of the payload", bytes(changed), ErrorCode.MANIFEST_SIGNATURE)
    for name, label in (("none", b""), ("other", b"pcrgate/release-manifest/v2")):
        data = sign_payload(payload, label=label)
        yield case(f"signature-label-{name}", "signed for another purpose", data, ErrorCode.MANIFEST_SIGNATURE)
    malleable = GOOD[:-32] + (int.from_bytes(GOOD[-32:], "little") + ORDER).to_bytes(32, "little")
    yield case("signature-s-plus-order", "S raised by the group's order", malleable, ErrorCode.MANIFEST_SIGNATURE)


ORDER = (1 << 252) + 27742317777372353535851937790883648493


def _encodings() -> Iterator[tuple[str, str, ErrorCode, bytes]]:
    code = ErrorCode.MANIFEST_ENCODING
    payload = encode_payload(manifest())
    yield "encoding-trailing", "a byte after the map", code, payload + b"\x00"
    yield "encoding-truncated", "the map is cut off", code, payload[:-1]
    yield "encoding-indefinite", "an indefinite-length map", code, b"\xbf" + payload[1:] + b"\xff"
    yield "encoding-not-shortest", "the length of the map in two bytes", code, b"\xb8\x0a" + payload[1:]
    yield "encoding-float", "the epoch is a float", code, payload.replace(b"\x65epoch\x07", b"\x65epoch\xf9\x47\x00")
    yield "encoding-duplicate", "epoch twice", code, b"\xab\x65epoch\x07" + payload[1:]
    first = payload.index(b"\x65rules")
    entry_end = payload.index(b"\x66agents")
    swapped = payload[:1] + payload[first:entry_end] + payload[1:first] + payload[entry_end:]
    yield "encoding-map-order", "a map in another order of keys", code, swapped
    yield (
        "encoding-list-order",
        "secrets in another order of names",
        code,
        encode(value(lambda told: told["secrets"].reverse())),
    )
    yield (
        "encoding-workload-order",
        "grants in another order",
        code,
        encode(value(lambda told: told["grants"].reverse())),
    )
    yield "field-not-a-map", "a list instead of the map", ErrorCode.MANIFEST_FIELD, encode([1])
    yield "field-integer-keys", "a map with integer keys", ErrorCode.MANIFEST_FIELD, encode({1: 1})


def _put(path: str, entry: Any) -> Change:
    """Set the entry at a path of names and positions."""

    def change(told: Any) -> None:
        *way, last = (int(word) if word.isdigit() else word for word in path.split("/"))
        for word in way:
            told = told[word]
        told[last] = entry

    return change


def _drop(path: str) -> Change:
    def change(told: Any) -> None:
        *way, last = (int(word) if word.isdigit() else word for word in path.split("/"))
        for word in way:
            told = told[word]
        del told[last]

    return change


def _twice(name: str, **changes: Any) -> Change:
    def change(told: Any) -> None:
        told[name].append({**told[name][0], **changes})

    return change


_ARGUMENTS = "grants/1/actions/1/arguments"
_REPEATED_KEY = {"name": "carol", "public_key": public_key("alice").public_bytes}

PAYLOADS: list[tuple[str, str, ErrorCode, Change]] = [
    ("version", "version 2", ErrorCode.MANIFEST_VERSION, _put("version", 2)),
    ("field-version-missing", "no version", ErrorCode.MANIFEST_FIELD, _drop("version")),
    ("field-unknown", "a field that nobody knows", ErrorCode.MANIFEST_FIELD, _put("extra", None)),
    ("field-epoch-zero", "epoch 0", ErrorCode.MANIFEST_FIELD, _put("epoch", 0)),
    ("field-epoch-too-great", "one past the greatest epoch", ErrorCode.MANIFEST_FIELD, _put("epoch", EPOCH_MAX + 1)),
    ("field-epoch-boolean", "epoch true", ErrorCode.MANIFEST_FIELD, _put("epoch", True)),
    ("field-epoch-text", "epoch as text", ErrorCode.MANIFEST_FIELD, _put("epoch", "7")),
    ("field-expires-before-issue", "expires when issued", ErrorCode.MANIFEST_FIELD, _put("expires_ms", NOW_MS - DAY_MS)),
    ("field-issued-zero", "issued in 1970", ErrorCode.MANIFEST_FIELD, _put("issued_ms", 0)),
    ("field-session-key-alias", "an alias for a key", ErrorCode.MANIFEST_FIELD, _put(
        "session_key_arn", "arn:aws:kms:eu-central-1:111122223333:alias/session")),
    ("field-session-key-integer", "a number for a key", ErrorCode.MANIFEST_FIELD, _put("session_key_arn", 1)),
    ("field-secrets-map", "secrets as a map", ErrorCode.MANIFEST_FIELD, _put("secrets", {})),
    ("field-secret-unknown", "a secret with an extra field", ErrorCode.MANIFEST_FIELD, _put("secrets/0/path", "/x")),
    ("field-secret-missing", "a secret without its digest", ErrorCode.MANIFEST_FIELD, _drop("secrets/0/header_sha384")),
    ("field-secret-class", "an unknown class", ErrorCode.MANIFEST_FIELD, _put("secrets/1/class", "model")),
    ("field-secret-session", "a sealed session key", ErrorCode.MANIFEST_FIELD, _put("secrets/1/class", "session")),
    ("field-secret-pickle", "a format that is not known", ErrorCode.MANIFEST_FIELD, _put("secrets/1/format", "pickle")),
    ("field-secret-opaque-weights", "weights without a format", ErrorCode.MANIFEST_FIELD, _put("secrets/1/format", "opaque")),
    ("field-secret-model-credentials", "credentials that are a model", ErrorCode.MANIFEST_FIELD, _put("secrets/0/format", "onnx")),
    ("field-secret-digest-short", "a digest of 47 bytes", ErrorCode.MANIFEST_FIELD, _put("secrets/0/frames_sha384", bytes(47))),
    ("field-secret-digest-text", "a digest in hex", ErrorCode.MANIFEST_FIELD, _put("secrets/0/plaintext_sha384", "00" * 48)),
    ("field-secret-empty", "a plaintext of no bytes", ErrorCode.MANIFEST_FIELD, _put("secrets/0/plaintext_bytes", 0)),
    ("field-secret-name", "a name with a slash", ErrorCode.MANIFEST_FIELD, _put("secrets/0/name", "a/b")),
    ("field-secret-name-long", "a name of 65 characters", ErrorCode.MANIFEST_FIELD, _put("agents/0/name", "a" * 65)),
    ("field-secret-key", "a bare key id", ErrorCode.MANIFEST_FIELD, _put("secrets/0/key_arn", key_arn(1).key_id)),
    ("field-secret-no-workload", "a secret for nobody", ErrorCode.MANIFEST_FIELD, _put("secrets/0/workloads", [])),
    ("field-secret-workload-integer", "a number for a workload", ErrorCode.MANIFEST_FIELD, _put("secrets/0/workloads", [1])),
    ("field-context-integer", "a number in the context", ErrorCode.MANIFEST_FIELD, _put("secrets/0/encryption_context/epoch", 4)),
    ("field-context-key-integer", "an integer key in the context", ErrorCode.MANIFEST_FIELD, lambda told: told["secrets"][0]["encryption_context"].update({1: "x"})),
    ("field-context-empty", "an empty value in the context", ErrorCode.MANIFEST_FIELD, _put("secrets/0/encryption_context/x", "")),
    ("context-class", "a context of another class", ErrorCode.MANIFEST_CONTEXT, _put("secrets/0/encryption_context/class", "weights")),
    ("context-name", "a context of another secret", ErrorCode.MANIFEST_CONTEXT, _put("secrets/0/encryption_context/name", "tiny")),
    ("context-epoch", "a context of an older epoch", ErrorCode.MANIFEST_CONTEXT, _put("secrets/0/encryption_context/epoch", "3")),
    ("context-missing", "a context without epoch", ErrorCode.MANIFEST_CONTEXT, _drop("secrets/0/encryption_context/epoch")),
    ("context-reserved", "a name that AWS reserves", ErrorCode.MANIFEST_CONTEXT, _put("secrets/0/encryption_context/aws:x", "y")),
    ("context-reserved-sdk", "a name that the SDK reserves", ErrorCode.MANIFEST_CONTEXT, _put("secrets/0/encryption_context/aws-crypto-public-key", "y")),
    ("limit-context", "a context past 8192 bytes", ErrorCode.MANIFEST_LIMIT, lambda told: told["secrets"][0]["encryption_context"].update({f"{n}" * 4: "v" * 1024 for n in range(CONTEXT_MAX_BYTES // 1024)})),
    ("limit-context-value", "a context value past 1024 bytes", ErrorCode.MANIFEST_LIMIT, _put("secrets/0/encryption_context/x", "v" * 1025)),
    ("limit-context-pairs", "too many pairs of context", ErrorCode.MANIFEST_LIMIT, lambda told: told["secrets"][0]["encryption_context"].update({f"x{n}": "v" for n in range(CONTEXT_PAIRS_MAX - 2)})),
    ("limit-lifetime", "one millisecond past 400 days", ErrorCode.MANIFEST_LIMIT, _put("expires_ms", NOW_MS - DAY_MS + LIFETIME_MAX_MS + 1)),
    ("limit-images", "too many images", ErrorCode.MANIFEST_LIMIT, lambda told: told.update(images=[told["images"][0]] * (IMAGES_MAX + 1))),
    ("limit-workloads", "too many workloads", ErrorCode.MANIFEST_LIMIT, _put("secrets/0/workloads", [f"w{n}" for n in range(WORKLOADS_MAX + 1)])),
    ("duplicate-secret", "a name twice", ErrorCode.MANIFEST_DUPLICATE, _twice("secrets", header_sha384=bytes(48))),
    ("duplicate-workload", "a workload twice", ErrorCode.MANIFEST_DUPLICATE, _put("secrets/0/workloads", ["infer", "infer"])),
    ("duplicate-message", "one sealed message under two names", ErrorCode.MANIFEST_DUPLICATE, lambda told: told["secrets"][0].update(header_sha384=told["secrets"][1]["header_sha384"])),
    ("duplicate-agent", "a name twice", ErrorCode.MANIFEST_DUPLICATE, _twice("agents", public_key=public_key("carol").public_bytes)),
    ("duplicate-agent-key", "two agents with one key", ErrorCode.MANIFEST_DUPLICATE, lambda told: told["agents"].append(_REPEATED_KEY)),
    ("duplicate-grant", "one agent, one workload, two grants", ErrorCode.MANIFEST_DUPLICATE, _twice("grants")),
    ("duplicate-rules", "rules of one workload twice", ErrorCode.MANIFEST_DUPLICATE, _twice("rules")),
    ("duplicate-image", "an image's name twice", ErrorCode.MANIFEST_DUPLICATE, _twice("images")),
    ("duplicate-action", "an action twice in one grant", ErrorCode.MANIFEST_DUPLICATE, lambda told: told["grants"][0]["actions"].append(told["grants"][0]["actions"][0])),
    ("duplicate-purpose", "a purpose twice", ErrorCode.MANIFEST_DUPLICATE, _put("grants/1/actions/1/purposes", ["invoice", "invoice"])),
    ("duplicate-choice", "a value of one-of twice", ErrorCode.MANIFEST_DUPLICATE, _put(f"{_ARGUMENTS}/to", {"required": True, "kind": "one-of", "values": ["a", "a"]})),
    ("reference-agent", "a grant for an agent that is not there", ErrorCode.MANIFEST_REFERENCE, _drop("agents/1")),
    ("key-class", "one key for weights and credentials", ErrorCode.MANIFEST_KEY_CLASS, _put("secrets/0/key_arn", str(key_arn(1)))),
    ("key-class-session", "one key for weights and sessions", ErrorCode.MANIFEST_KEY_CLASS, _put("session_key_arn", str(key_arn(1)))),
    ("public-key-small-order", "an agent key of order 8", ErrorCode.MANIFEST_PUBLIC_KEY, _put("agents/0/public_key", SMALL_ORDER)),
    ("public-key-identity", "the neutral point", ErrorCode.MANIFEST_PUBLIC_KEY, _put("agents/0/public_key", b"\x01" + bytes(31))),
    ("public-key-not-canonical", "y past the field's prime", ErrorCode.MANIFEST_PUBLIC_KEY, _put("agents/0/public_key", b"\xff" * 31 + b"\x7f")),
    ("public-key-short", "31 bytes", ErrorCode.MANIFEST_PUBLIC_KEY, _put("agents/0/public_key", bytes(31))),
    ("field-agent-key-text", "a key in hex", ErrorCode.MANIFEST_FIELD, _put("agents/0/public_key", "00" * 32)),
    ("field-agent-unknown", "an agent with an extra field", ErrorCode.MANIFEST_FIELD, _put("agents/0/role", "admin")),
    ("field-grant-unknown", "a grant with an extra field", ErrorCode.MANIFEST_FIELD, _put("grants/0/any", True)),
    ("field-grant-no-actions", "a grant of nothing", ErrorCode.MANIFEST_FIELD, _put("grants/0/actions", [])),
    ("field-grant-uses-zero", "no uses at all", ErrorCode.MANIFEST_FIELD, _put("grants/0/max_uses_per_boot", 0)),
    ("field-grant-uses-text", "uses as text", ErrorCode.MANIFEST_FIELD, _put("grants/0/max_uses_per_boot", "9")),
    ("field-rules-unknown", "rules with an extra field", ErrorCode.MANIFEST_FIELD, _put("rules/0/agent", "alice")),
    ("field-action-unknown", "an action with an extra field", ErrorCode.MANIFEST_FIELD, _put("grants/0/actions/0/any", True)),
    ("field-argument-integer", "an integer for an argument's name", ErrorCode.MANIFEST_FIELD, lambda told: told["grants"][1]["actions"][1]["arguments"].update({1: {"required": True, "kind": "free-text", "max_bytes": 1}})),
    ("field-argument-unknown", "an argument with an extra field", ErrorCode.MANIFEST_FIELD, _put(f"{_ARGUMENTS}/to/any", True)),
    ("field-argument-required", "required is a number", ErrorCode.MANIFEST_FIELD, _put(f"{_ARGUMENTS}/to/required", 1)),
    ("field-argument-kind", "a pattern to run", ErrorCode.MANIFEST_FIELD, _put(f"{_ARGUMENTS}/to", {"required": True, "kind": "regex", "pattern": "(a+)+$"})),
    ("field-equals-list", "equal to a list", ErrorCode.MANIFEST_FIELD, _put(f"{_ARGUMENTS}/urgent/value", [1])),
    ("field-choice-mixed", "text and integers in one choice", ErrorCode.MANIFEST_FIELD, _put(f"{_ARGUMENTS}/to", {"required": True, "kind": "one-of", "values": [1, "1"]})),
    ("field-choice-empty", "a choice of nothing", ErrorCode.MANIFEST_FIELD, _put(f"{_ARGUMENTS}/to", {"required": True, "kind": "one-of", "values": []})),
    ("field-prefix-longer", "a prefix longer than what is admitted", ErrorCode.MANIFEST_FIELD, _put(f"{_ARGUMENTS}/to/max_bytes", 1)),
    ("field-currency", "a currency in small letters", ErrorCode.MANIFEST_FIELD, _put(f"{_ARGUMENTS}/amount/currency", "eur")),
    ("field-amount-negative", "an amount below nothing", ErrorCode.MANIFEST_FIELD, _put(f"{_ARGUMENTS}/amount/max_minor_units", -1)),
    ("field-range-empty", "a range that admits nothing", ErrorCode.MANIFEST_FIELD, _put("grants/1/actions/0/arguments/rows/maximum", 0)),
    ("field-range-total-negative", "a total that negative values give back", ErrorCode.MANIFEST_FIELD, _put("grants/1/actions/0/arguments/rows/minimum", -1)),
    ("field-image-no-pcr0", "an image without PCR0", ErrorCode.MANIFEST_FIELD, _drop("images/0/pcrs/0")),
    ("field-image-zero", "a debug image", ErrorCode.MANIFEST_FIELD, lambda told: told["images"][0]["pcrs"].update({0: bytes(48)})),
    ("field-image-pcr-index", "register 32", ErrorCode.MANIFEST_FIELD, lambda told: told["images"][0]["pcrs"].update({32: bytes(48)})),
    ("field-image-pcr-text", "a register's index as text", ErrorCode.MANIFEST_FIELD, lambda told: told["images"][0]["pcrs"].update({"1": bytes(48)})),
    ("field-image-pcr-short", "a register of 47 bytes", ErrorCode.MANIFEST_FIELD, lambda told: told["images"][0]["pcrs"].update({1: bytes(47)})),
    ("field-image-unknown", "an image with an extra field", ErrorCode.MANIFEST_FIELD, _put("images/0/debug", True)),
]  # fmt: skip


def _judgements() -> Iterator[Vector]:
    yield _vector("reject-rollback", "one epoch below the floor", GOOD, ErrorCode.MANIFEST_ROLLBACK, floor=8)
    end = NOW_MS + 30 * DAY_MS
    yield _vector("reject-expired", "the moment of expiry", GOOD, ErrorCode.MANIFEST_EXPIRED, now_ms=end)
    early = NOW_MS - DAY_MS - FUTURE_SKEW_MAX_MS - 1
    code = ErrorCode.MANIFEST_NOT_YET_VALID
    yield _vector("reject-not-yet-valid", "one millisecond more than the allowed skew ahead", GOOD, code, now_ms=early)
    code = ErrorCode.MANIFEST_KEY_PINNED
    fewer = ALL_KEYS - {key_arn(2)}
    yield _vector("reject-key-not-pinned", "a secret under a key that is not pinned", GOOD, code, pinned=fewer)
    yield _vector("reject-key-none-pinned", "no key is pinned", GOOD, code, pinned=frozenset())
    session = ALL_KEYS - {key_arn(3)}
    yield _vector("reject-key-session-not-pinned", "a session key that is not pinned", GOOD, code, pinned=session)
    replica = signed(session_key_arn=key_arn(9, multi_region=True))
    yield _vector("reject-key-multi-region", "a multi-Region key, nothing listed", replica, code, pinned=None)
    yield _vector("reject-key-multi-region-unlisted", "a multi-Region key that is not listed", replica, code)
