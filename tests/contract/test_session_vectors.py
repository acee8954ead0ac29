"""Every vector of sessions and receipts gets its verdict, and the set is what its generator makes."""

from collections.abc import Mapping
from typing import Any

import pytest

from pcrgate.envelope.hpke import HpkePrivateKey, HpkeSuite
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session import Role, Session
from pcrgate.envelope.session_agent import AgentHandshake
from pcrgate.envelope.session_enclave import EnclaveHandshake
from pcrgate.envelope.session_identity import VerifiedIdentity, verify_identity
from pcrgate.envelope.session_keys import session_keys
from pcrgate.envelope.session_limits import SessionGrant, SessionLimits
from pcrgate.envelope.session_messages import Hello
from pcrgate.envelope.session_ticket import Ticket, verify_commitment, verify_ticket
from pcrgate.errors import PcrgateError
from pcrgate.receipts.report import describe_claims
from pcrgate.receipts.verification import verify_chain
from pcrgate.units import Sha384
from tests.vectors_session.__main__ import main
from tests.vectors_session.catalogue import differences, load
from tests.vectors_session.fixed_keys import AGENT, GRANT_KEY, NOW_MS, RESPONSE_KEY, boot
from tests.vectors_session.session_cases import LIMITS, SUITE, Exchange

SESSIONS, RECEIPTS = load("session"), load("receipts")


class Fixed:
    """Gives out the vector's data key."""

    def __init__(self, data_key: bytes, blob: bytes) -> None:
        self.data_key, self.blob = data_key, blob

    def generate(self, context: Mapping[str, str]) -> tuple[SecretBytes, bytes]:
        assert context["class"] == "session"
        return SecretBytes(self.data_key), self.blob

    def unwrap(self, blob: bytes, context: Mapping[str, str]) -> SecretBytes:
        raise NotImplementedError(blob, context)


def identity_of(vector: Mapping[str, Any]) -> VerifiedIdentity:
    return verify_identity(
        bytes.fromhex(vector["statement"]),
        user_data=bytes.fromhex(vector["user_data"]),
        public_key=bytes.fromhex(vector["public_key"]),
    )


def judge_identity(vector: Mapping[str, Any]) -> None:
    identity_of(vector)


def judge_hello(vector: Mapping[str, Any]) -> None:
    fields = {key: bytes.fromhex(value) for key, value in vector.items() if isinstance(value, str) and key in HEX}
    handshake = EnclaveHandshake(
        boot(vector["boot"]), limits=SessionLimits(), randomness=lambda length: fields["session_id"][:length]
    )
    handshake.attested(fields["attested_nonce"], now_ms=vector["now_ms"])
    grant = SessionGrant(
        agent_id=AGENT,
        public_key=fields["grant_public_key"],
        expires_ms=vector["grant_expires_ms"],
        limits=SessionLimits(),
    )
    offer = handshake.accept(
        fields["hello"],
        grants={AGENT: grant}.get,
        data_keys=Fixed(fields["data_key"], fields["blob"]),
        now_ms=vector["now_ms"],
    )
    waiting = handshake._waiting.find(offer.session_id, vector["now_ms"])
    assert waiting.transcript.hex() == vector["transcript"]
    assert waiting.commitment.hex() == vector["commitment"]
    assert waiting.keys.agent_to_enclave.secret.reveal().hex() == vector["agent_to_enclave"]
    assert waiting.keys.enclave_to_agent.secret.reveal().hex() == vector["enclave_to_agent"]
    assert waiting.keys.digest.reveal().hex() == vector["digest_key"]
    handshake.confirm(Exchange().ticket.encode(), now_ms=vector["now_ms"])


def judge_response(vector: Mapping[str, Any]) -> None:
    exchange, statement = Exchange(), boot("boot 1").statement
    agent = AgentHandshake(
        identity=verify_identity(
            bytes.fromhex(vector["statement"]), user_data=statement.digest.digest, public_key=statement.receipt_key
        ),
        nonce=bytes.fromhex(vector["nonce"]),
        agent_id=AGENT,
        grant_key=GRANT_KEY,
        now_ms=NOW_MS,
        suite=SUITE,
        limits=LIMITS,
        randomness=lambda length: exchange.body.secret[:length],
        response_key=RESPONSE_KEY,
    )
    # Sealing draws an ephemeral key, so the hello that was answered is put in the place of the one just made.
    assert Hello.parse(agent.hello).nonce == exchange.nonce
    object.__setattr__(agent, "hello", bytes.fromhex(vector["hello"]))
    established = agent.finish(bytes.fromhex(vector["response"]))
    assert established.ticket.hex() == vector["ticket"]


def judge_ticket(vector: Mapping[str, Any]) -> None:
    grant = SessionGrant(
        agent_id=AGENT, public_key=bytes.fromhex(vector["grant_public_key"]), expires_ms=1, limits=SessionLimits()
    )
    verified = verify_ticket(Ticket.parse(bytes.fromhex(vector["ticket"])), grant)
    verify_commitment(verified, SecretBytes(bytes.fromhex(vector["data_key"])))


def judge_record(vector: Mapping[str, Any]) -> None:
    session = Session(
        role=Role[vector["opener"].upper()],
        session_id=bytes.fromhex(vector["session_id"]),
        agent_id=AGENT,
        boot_id=bytes.fromhex(vector["boot_id"]),
        keys=session_keys(
            SecretBytes(bytes.fromhex(vector["data_key"])),
            SecretBytes(bytes.fromhex(vector["agent_secret"])),
            Sha384(bytes.fromhex(vector["transcript"])),
        ),
        limits=SessionLimits(),
        expires_ms=NOW_MS,
    )
    for record in vector["seen"]:
        session.open(bytes.fromhex(record), now_ms=0)
    opened = session.open(bytes.fromhex(vector["record"]), now_ms=0)
    assert (opened.plaintext.hex(), opened.sequence, opened.answers) == (
        vector["plaintext"],
        vector["sequence"],
        vector["answers"],
    )


def judge_hpke(vector: Mapping[str, Any]) -> None:
    seeds = {name: bytes.fromhex(vector[f"{name}_seed"]) for name in ("x25519", "mlkem")}
    key = HpkePrivateKey.from_seeds(HpkeSuite.from_id(vector["suite"]), **seeds)
    opened = key.open(bytes.fromhex(vector["sealed"]), info=bytes.fromhex(vector["info"]))
    assert opened.hex() == vector["plaintext"]


HEX = {"attested_nonce", "grant_public_key", "session_id", "data_key", "blob", "hello"}
JUDGES = {
    "identity": judge_identity,
    "hello": judge_hello,
    "response": judge_response,
    "ticket": judge_ticket,
    "record": judge_record,
    "hpke": judge_hpke,
}
KEYS = {
    "identity": {"statement", "user_data", "public_key"},
    "hello": {"boot", "now_ms", "grant_expires_ms", *HEX},
    "response": {"statement", "nonce", "hello", "response"},
    "ticket": {"grant_public_key", "data_key", "ticket"},
    "record": {"session_id", "boot_id", "data_key", "agent_secret", "transcript", "opener", "seen", "record"},
    "hpke": {"suite", "x25519_seed", "mlkem_seed", "info", "sealed"},
}
OUTCOME = {
    "identity": set[str](),
    "hello": {"transcript", "commitment", "agent_to_enclave", "enclave_to_agent", "digest_key"},
    "response": {"ticket"},
    "ticket": set[str](),
    "record": {"plaintext", "sequence", "answers"},
    "hpke": {"plaintext"},
}


def verdict(judge: Any, vector: Mapping[str, Any]) -> str:
    try:
        judge(vector)
    except PcrgateError as error:
        return error.code.code
    return "accepted"


@pytest.mark.parametrize("vector", SESSIONS, ids=lambda vector: vector["name"])
def test_session_verdict(vector: dict[str, Any]) -> None:
    assert verdict(JUDGES[vector["kind"]], vector) == vector["expect"]


@pytest.mark.parametrize("vector", SESSIONS, ids=lambda vector: vector["name"])
def test_session_vectors_have_exactly_their_keys(vector: dict[str, Any]) -> None:
    common = {"name", "kind", "description", "expect"}
    accepted = vector["expect"] == "accepted"
    assert vector["name"].startswith("accept-" if accepted else "reject-")
    assert vector.keys() == common | KEYS[vector["kind"]] | (OUTCOME[vector["kind"]] if accepted else set())


@pytest.mark.parametrize("vector", RECEIPTS, ids=lambda vector: vector["name"])
def test_receipt_verdict(vector: dict[str, Any]) -> None:
    found: list[object] = []

    def judge(given: Mapping[str, Any]) -> None:
        chain = verify_chain([bytes.fromhex(receipt) for receipt in given["receipts"]], identity_of(given))
        found.extend(describe_claims(receipt.claims) for receipt in chain)

    assert verdict(judge, vector) == vector["expect"]
    assert (found or None) == vector["claims"]
    assert vector.keys() == {
        "name", "description", "expect", "statement", "user_data", "public_key", "receipts", "claims",
    }  # fmt: skip


def test_the_files_are_what_the_generator_makes() -> None:
    assert differences() == []
    assert len(SESSIONS) >= 38
    assert len(RECEIPTS) >= 13


def test_the_generator_takes_no_other_words() -> None:
    assert main(["--check"]) == 0
    assert main(["more"]) == 2
