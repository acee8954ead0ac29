"""Validate actions: check what an agent signed against the manifest, and state the outcome in a signed report.

A request is CBOR ``{"action": bytes, "signature": bytes}``. The action is CBOR of exactly ``agent``, ``tool``,
``arguments``, ``purpose`` (text or null), ``nonce`` and ``expires_ms``. The signature is the agent's Ed25519 over the
label and the action, so it serves nothing else.
Spec: docs/enclave.md, "validate".
"""

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from enclave.workloads.admission import Action, UseCounts
from enclave.workloads.contract import Invocation, Outcome, ReleasedSecret, Workload, malformed
from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.envelope.session_fields import pack
from pcrgate.errors import CborError, ErrorCode, ManifestError, PcrgateError
from pcrgate.manifest.public_keys import SIGNATURE_BYTES

ACTION_LABEL: Final = b"pcrgate/action/v1"
"""Domain of an agent's signature over an action."""

ACTION_MAX_BYTES: Final = 128 << 10
"""Longest action: a free text of 64 KiB and room."""

NONCE_BYTES: Final = (16, 64)
"""Shortest and longest nonce of an action."""

LIFETIME_MAX_MS: Final = 3_600_000
"""How far ahead an action's expiry may lie: its nonce is remembered until then."""

NONCES_MAX: Final = 65_536
"""Most nonces remembered, about 10 MB; beyond it new actions wait until old ones expire."""

_FIELDS: Final = {"agent", "tool", "arguments", "purpose", "nonce", "expires_ms"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAction:
    """Hold an action that its agent signed, in its time.

    Attributes:
        action: what is to be done.
        nonce: unique for the agent.
        expires_ms: when it ends.
        digest: SHA-384 of the encoded action.
    """

    action: Action
    nonce: bytes
    expires_ms: int
    digest: bytes


def action_signed(action: bytes) -> bytes:
    """Return what an agent signs of an encoded action."""
    return pack(ACTION_LABEL, action)


class ValidateWorkload:
    """Check actions; threads may share it."""

    def __init__(self) -> None:
        """Begin with no nonce seen and nothing used."""
        self._lock: Final = threading.Lock()
        self._nonces: Final[dict[tuple[str, bytes], int]] = {}
        self._counts: Final = UseCounts()

    def carry_out(self, invocation: Invocation) -> Outcome:
        """Return the report on an action that is admitted.

        Raises:
            PcrgateError: ``workload-request``, ``workload-signature``, ``workload-stale``, ``workload-replayed``,
                ``workload-argument``, ``workload-limit``, ``manifest-no-grant``, ``wire-busy``.
        """
        # 1. Form, signature, agent and time.
        signed = verify_action(invocation)
        # 2. A nonce counts once; it is given back when the action is refused, since nothing happened.
        place = (invocation.agent, signed.nonce)
        self._take_nonce(place, signed.expires_ms, invocation.now_ms)
        try:
            # 3. Grant and rules.
            self._counts.admit(signed.action, invocation.grant, invocation.rules)
        except BaseException:
            with self._lock:
                self._nonces.pop(place, None)
            raise
        report = encode(
            {
                "action_sha384": signed.digest,
                "agent": invocation.agent,
                "decision": "admitted",
                "manifest_sha384": invocation.manifest_digest.digest,
                "purpose": signed.action.purpose,
                "time_ms": invocation.now_ms,
                "tool": signed.action.name,
            }
        )
        return Outcome(result=report, report=report)

    def _take_nonce(self, place: tuple[str, bytes], expires_ms: int, now_ms: int) -> None:
        with self._lock:
            if place in self._nonces:
                raise PcrgateError(
                    ErrorCode.WORKLOAD_REPLAYED, "the action's nonce was used before, expected a new one"
                )
            if len(self._nonces) >= NONCES_MAX:
                for late in [known for known, until in self._nonces.items() if until <= now_ms]:
                    del self._nonces[late]
            if len(self._nonces) >= NONCES_MAX:
                raise PcrgateError(ErrorCode.WIRE_BUSY, f"{NONCES_MAX} actions are remembered, expected fewer at once")
            self._nonces[place] = expires_ms


def verify_action(invocation: Invocation) -> SignedAction:
    """Return the action of a request, once its agent signed it and it has not expired.

    Raises:
        PcrgateError: ``workload-request``, ``workload-signature`` or ``workload-stale``.
    """
    envelope = _map(invocation.request, {"action", "signature"}, "the request")
    raw, signature = envelope["action"], envelope["signature"]
    if type(raw) is not bytes or type(signature) is not bytes or len(signature) != SIGNATURE_BYTES:
        raise malformed("action or signature is not a byte string of its length")
    try:
        invocation.agent_key.verify(signature, action_signed(raw))
    except ManifestError:
        raise PcrgateError(
            ErrorCode.WORKLOAD_SIGNATURE, "the action is not signed by the agent of this session"
        ) from None
    fields = _map(raw, _FIELDS, "the action")
    if fields["agent"] != invocation.agent:
        raise PcrgateError(ErrorCode.WORKLOAD_SIGNATURE, "the action names another agent than this session's")
    nonce, expires_ms = fields["nonce"], fields["expires_ms"]
    least, most = NONCE_BYTES
    if type(nonce) is not bytes or not least <= len(nonce) <= most:
        raise malformed(f"nonce is not a byte string of {least} to {most} bytes")
    if type(expires_ms) is not int or not invocation.now_ms < expires_ms <= invocation.now_ms + LIFETIME_MAX_MS:
        raise PcrgateError(
            ErrorCode.WORKLOAD_STALE, f"the action has expired, or is valid longer than {LIFETIME_MAX_MS // 1000} s"
        )
    return SignedAction(action=_action(fields), nonce=nonce, expires_ms=expires_ms, digest=hashlib.sha384(raw).digest())


def _action(fields: Mapping[str, CborValue]) -> Action:
    tool, arguments, purpose = fields["tool"], fields["arguments"], fields["purpose"]
    if type(tool) is not str or (purpose is not None and type(purpose) is not str):
        raise malformed("tool is not text, or purpose neither text nor null")
    if type(arguments) is not dict or not all(type(name) is str for name in arguments):
        raise malformed("arguments is not a map by name")
    return Action(name=tool, arguments={str(name): value for name, value in arguments.items()}, purpose=purpose)


def _map(raw: bytes, names: set[str], what: str) -> dict[str, CborValue]:
    if len(raw) > ACTION_MAX_BYTES:
        raise malformed(f"{what} is longer than {ACTION_MAX_BYTES} bytes")
    try:
        value = decode(raw)
        canonical = encode(value) == raw
    except CborError as error:
        raise malformed(f"{what} is not CBOR as it must be ({error.code.code})") from error
    if type(value) is not dict or value.keys() != names or not canonical:
        raise malformed(f"{what} is not a map of exactly {sorted(names)} in deterministic encoding")
    return {str(name): entry for name, entry in value.items()}


def start(secrets: Mapping[str, ReleasedSecret]) -> ValidateWorkload:
    """Return the workload; it takes no secrets."""
    if secrets:
        raise malformed("validate was given secrets, expected none")
    return ValidateWorkload()


WORKLOAD: Final = Workload(name="validate", secret_class=None, once=True, start=start)
"""The entry point."""
