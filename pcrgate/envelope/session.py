"""Hold an established session: seal and open records, count, expire, wipe.

A record is its header and its ciphertext. The header says session, direction, sequence number and which request it
answers; together with the boot id that the agent appraised it is the associated data. So a record means one thing, in
one direction, on one boot, once.

Spec: docs/protocol.md, "Records".
"""

import hashlib
import hmac
import threading
from dataclasses import dataclass
from enum import Enum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.envelope.session_fields import pack
from pcrgate.envelope.session_keys import RECORD_IV_BYTES, RECORD_KEY_BYTES, DirectionKey, SessionKeys
from pcrgate.envelope.session_labels import CONTENT, RECORD
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.envelope.session_messages import SESSION_ID_BYTES
from pcrgate.envelope.session_window import ReplayWindow
from pcrgate.errors import ErrorCode, SessionError
from pcrgate.units import Sha384

SEQUENCE_BYTES: Final = 8
"""Width of a sequence number in the header: unsigned, big endian; the first is 1."""

HEADER_BYTES: Final = SESSION_ID_BYTES + 1 + 2 * SEQUENCE_BYTES
"""Length of a record's header: session id, direction, sequence, answered sequence."""

TAG_BYTES: Final = 16
"""Length of the GCM tag."""

RECORD_MAX_BYTES: Final = 16 << 20
"""Longest plaintext of a record, 16 MiB: a request or result of a workload, far below GCM's own limit of 64 GiB."""

NO_ANSWER: Final = 0
"""What a request says in the place of the sequence number it answers."""


class Role(Enum):
    """Name the side; the number is the direction of what it sends."""

    AGENT = 1
    ENCLAVE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedRecord:
    """Hold a record to send.

    Attributes:
        sequence: its number, for the answer to name.
        record: header and ciphertext.
    """

    sequence: int
    record: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRecord:
    """Hold what a record said.

    Attributes:
        sequence: its number, new in this session on this boot.
        answers: the sequence number it answers, 0 for a request.
        plaintext: what was sealed.
        digest: SHA-384 of the record as it came: the same bytes again are the same request (see ``record_digest``).
    """

    sequence: int
    answers: int
    plaintext: bytes
    digest: Sha384

    def __repr__(self) -> str:
        return f"OpenedRecord(sequence={self.sequence}, answers={self.answers}, hidden)"


def record_digest(record: bytes) -> Sha384:
    """Return the SHA-384 of a record: under it an enclave keeps the answer that identical bytes get again."""
    return Sha384(hashlib.sha384(record).digest())


def record_session(record: bytes) -> bytes:
    """Return the session id that a record claims, to find the session that may open it.

    Raises:
        SessionError: ``session-open`` when it is too short to be a record.
    """
    if len(record) < HEADER_BYTES + TAG_BYTES:
        raise _refused()
    return record[:SESSION_ID_BYTES]


class Session:
    """Own the keys of one session on one boot, on one side. Threads may share it."""

    __slots__ = (
        "_boot_id", "_bytes", "_directions", "_keys", "_lock", "_role", "_sent", "_window", "agent_id", "expires_ms",
        "limits", "session_id",
    )  # fmt: skip

    def __init__(
        self,
        *,
        role: Role,
        session_id: bytes,
        agent_id: str,
        boot_id: bytes,
        keys: SessionKeys,
        limits: SessionLimits,
        expires_ms: int,
    ) -> None:
        """Take the keys; the handshakes make sessions.

        Args:
            role: which side this is.
            session_id: 16 bytes.
            agent_id: whose session it is.
            boot_id: the boot that the agent appraised, 32 bytes.
            keys: taken over, wiped at the end.
            limits: what was granted.
            expires_ms: when it ends, by the clock that ``now_ms`` is read from.
        """
        self.session_id: Final = session_id
        self.agent_id: Final = agent_id
        self.limits: Final = limits
        self.expires_ms: Final = expires_ms
        self._role: Final = role
        self._boot_id: Final = boot_id
        self._keys: Final = keys
        self._directions = {
            Role.AGENT: _Direction.of(keys.agent_to_enclave),
            Role.ENCLAVE: _Direction.of(keys.enclave_to_agent),
        }
        self._lock: Final = threading.Lock()
        self._window: Final = ReplayWindow()
        self._sent = 0
        self._bytes = dict.fromkeys(Role, 0)

    def seal(self, plaintext: bytes, *, now_ms: int, answers: int = NO_ANSWER) -> SealedRecord:
        """Return the next record of this side.

        Args:
            plaintext: at most 16 MiB.
            now_ms: this side's clock, milliseconds since the epoch.
            answers: sequence number of the request it answers.

        Raises:
            SessionError: ``session-expired``, ``session-ended``, or ``session-limit`` for records, bytes or this one's
                length.
        """
        direction = self._require_live(self._role, now_ms)
        if len(plaintext) > RECORD_MAX_BYTES:
            raise SessionError(
                ErrorCode.SESSION_LIMIT, f"a record has {len(plaintext)} bytes, expected at most {RECORD_MAX_BYTES}"
            )
        with self._lock:
            self._count(self._role, self._sent + 1, len(plaintext))
            self._sent += 1
            sequence = self._sent
        header = self._header(self._role, sequence, answers)
        ciphertext = direction.cipher.encrypt(direction.nonce(sequence), plaintext, self._associated(header))
        return SealedRecord(sequence=sequence, record=header + ciphertext)

    def open(self, record: bytes, *, now_ms: int) -> OpenedRecord:
        """Return what the other side sealed.

        Args:
            record: header and ciphertext.
            now_ms: this side's clock, milliseconds since the epoch.

        Raises:
            SessionError: ``session-open`` whatever does not fit, ``session-replayed`` for the other side's own record
                a second time, ``session-limit``, ``session-expired``, ``session-ended``.
        """
        sender = Role.ENCLAVE if self._role is Role.AGENT else Role.AGENT
        direction = self._require_live(sender, now_ms)
        if record_session(record) != self.session_id or len(record) > HEADER_BYTES + RECORD_MAX_BYTES + TAG_BYTES:
            raise _refused()
        sequence = int.from_bytes(record[SESSION_ID_BYTES + 1 : HEADER_BYTES - SEQUENCE_BYTES], "big")
        answers = int.from_bytes(record[HEADER_BYTES - SEQUENCE_BYTES : HEADER_BYTES], "big")
        # (1) the header is the one that fits: this session, the other side's direction, numbers in range
        header = self._header(sender, sequence, answers)
        if record[:HEADER_BYTES] != header or sequence == 0:
            raise _refused()
        # (2) authentic for this boot; only then anything is remembered
        try:
            plaintext = direction.cipher.decrypt(
                direction.nonce(sequence), record[HEADER_BYTES:], self._associated(header)
            )
        except InvalidTag as error:
            raise _refused() from error
        # (3) new, and within the limits
        with self._lock:
            self._window.mark(sequence)
            self._count(sender, sequence, len(plaintext))
        return OpenedRecord(sequence=sequence, answers=answers, plaintext=plaintext, digest=record_digest(record))

    def content_digest(self, side: Role, request: int, content: bytes) -> Sha384:
        """Return the digest of a request or result for its receipt: both sides compute it, nobody else can.

        It is keyed, so that whoever sees the receipt cannot try out contents; the key commits to one content.

        Args:
            side: who wrote the content.
            request: sequence number of the request that it is, or that it answers.
            content: the bytes.

        Raises:
            SessionError: ``session-ended``.

        Spec: docs/protocol.md, "Receipts".
        """
        with self._lock:
            self._require(side)
            with self._keys.digest.view() as key:
                message = pack(CONTENT, side.value, request, content)
                return Sha384(hmac.digest(key, message, "sha384"))

    def end(self) -> None:
        """Wipe the keys; every later call is refused. Ending twice is fine."""
        with self._lock:
            self._directions.clear()
            self._keys.wipe()

    @property
    def ended(self) -> bool:
        """Whether the keys are gone."""
        return not self._directions

    def _require_live(self, side: Role, now_ms: int) -> "_Direction":
        if now_ms >= self.expires_ms and not self.ended:
            self.end()
            raise SessionError(ErrorCode.SESSION_EXPIRED, "the session has expired, expected a new one")
        return self._require(side)

    def _require(self, side: Role) -> "_Direction":
        direction = self._directions.get(side)
        if direction is None:
            raise SessionError(ErrorCode.SESSION_ENDED, "the session was ended, expected a new one")
        return direction

    def _count(self, side: Role, sequence: int, size: int) -> None:
        total = self._bytes[side] + size
        if sequence > self.limits.max_records or total > self.limits.max_bytes:
            raise SessionError(
                ErrorCode.SESSION_LIMIT,
                f"a direction carries at most {self.limits.max_records} records and {self.limits.max_bytes} bytes",
            )
        self._bytes[side] = total

    def _header(self, side: Role, sequence: int, answers: int) -> bytes:
        numbers = sequence.to_bytes(SEQUENCE_BYTES, "big") + answers.to_bytes(SEQUENCE_BYTES, "big")
        return self.session_id + bytes((side.value,)) + numbers

    def _associated(self, header: bytes) -> bytes:
        return pack(RECORD, header, self._boot_id)

    def __repr__(self) -> str:
        return f"Session({self._role.name.lower()}, {self.session_id.hex()}, keys hidden)"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Direction:
    """Hold what seals one direction, ready to use.

    Attributes:
        cipher: AES-256-GCM under the direction's key; OpenSSL clears its copy when it goes.
        iv: the 96-bit number that each sequence number is combined with.
    """

    cipher: AESGCM
    iv: int

    @classmethod
    def of(cls, key: DirectionKey) -> "_Direction":
        with key.secret.view() as secret:
            return cls(cipher=AESGCM(secret[:RECORD_KEY_BYTES]), iv=int.from_bytes(secret[RECORD_KEY_BYTES:], "big"))

    def nonce(self, sequence: int) -> bytes:
        return (self.iv ^ sequence).to_bytes(RECORD_IV_BYTES, "big")

    def __repr__(self) -> str:
        return "_Direction(hidden)"


def _refused() -> SessionError:
    return SessionError(ErrorCode.SESSION_OPEN, "a record was refused")
