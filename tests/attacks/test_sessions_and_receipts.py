"""Groups A, B, C, F and H on sessions and receipts: whoever is in between can deny, and nothing else.

Beside each attack stands the mutant: the same attack with the one check removed must get through, or the check was not
what stopped it.
"""

import dataclasses
import secrets
from collections.abc import Callable
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from pcrgate.attestation.cbor import encode
from pcrgate.envelope import (
    session,
    session_enclave,
    session_fields,
    session_identity,
    session_signature,
    session_ticket,
    session_waiting,
    session_window,
)
from pcrgate.envelope.hpke import HpkeSuite
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session import Role
from pcrgate.envelope.session_agent import AgentHandshake
from pcrgate.envelope.session_fields import pack
from pcrgate.envelope.session_identity import BootKeys, verify_identity
from pcrgate.envelope.session_keys import key_commitment
from pcrgate.envelope.session_messages import Hello, hello_info, parse_hello_body
from pcrgate.envelope.session_ticket import Ticket
from pcrgate.errors import PcrgateError
from pcrgate.kms.commitment import request_commitment
from pcrgate.receipts import verification
from pcrgate.receipts.envelope import parse_receipt, sign_receipt, signed_bytes
from pcrgate.receipts.verification import verify_chain, verify_receipt
from tests.attacks.mutants import mutant, succeeds
from tests.unit.envelope.session_stage import AGENT, AGENT_MS, ENCLAVE_MS, MANIFEST, Stage, appraised
from tests.unit.envelope.test_session_records import end
from tests.unit.receipts.receipt_stage import Book

Attack = Callable[[], object]
Check = tuple[ModuleType, str, str]


def f2_a_hello_is_replayed() -> Attack:
    """F2: the parent sends an agent's hello again, to have a second session of it."""
    boot = Stage().boot()
    hello = boot.agent().hello
    boot.accept(hello)
    return lambda: boot.accept(hello)


def f9_a_document_made_for_another_purpose() -> Attack:
    """F9: evidence whose key is a recipient key for KMS serves as evidence of the live channel."""
    statement = BootKeys.generate(MANIFEST).statement
    setup = rsa.generate_private_key(65537, 2048).public_key()
    der = setup.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return lambda: verify_identity(statement.encode(), user_data=statement.digest.digest, public_key=der)


def c_keys_of_the_parent_in_an_honest_statement() -> Attack:
    """C: the evidence is honest, its receipt key too; the HPKE keys are the parent's, who then reads the hello."""
    honest, parent = BootKeys.generate(MANIFEST), BootKeys.generate(MANIFEST)
    forged = dataclasses.replace(honest.statement, hpke_keys=parent.statement.hpke_keys).encode()
    suite, nonce = HpkeSuite.X25519, bytes(32)

    def attack() -> object:
        identity = verify_identity(
            forged, user_data=honest.statement.digest.digest, public_key=honest.statement.receipt_key
        )
        agent = AgentHandshake(
            identity=identity,
            nonce=nonce,
            agent_id=AGENT,
            grant_key=Ed25519PrivateKey.generate(),
            now_ms=AGENT_MS,
            suite=suite,
        )
        info = hello_info(suite, identity.digest, nonce)
        return parse_hello_body(parent.hpke_keys[suite].open(Hello.parse(agent.hello).sealed, info=info), suite)

    return attack


def b3_a_parent_creates_a_session() -> Attack:
    """B3: the parent speaks for an agent whose grant key it does not have."""
    boot = Stage().boot()
    parent = boot.agent(grant_key=Ed25519PrivateKey.generate())
    return lambda: boot.accept(parent.hello)


def b3_a_parent_mints_the_key_of_a_ticket() -> Attack:
    """B3: the parent wraps a key it knows under the very context and commits to it; the agent's hello is genuine."""
    stage = Stage()
    first, second = stage.boot(), stage.boot()
    established, _ = first.establish()
    ticket = Ticket.parse(established.ticket)
    known = secrets.token_bytes(32)
    minted = dataclasses.replace(
        ticket,
        blob=stage.kms.encrypt(known, ticket.context),
        commitment=key_commitment(SecretBytes(known), ticket.transcript),
    ).encode()
    hello = second.agent(resumes=established.session_id).hello
    return lambda: second.accept(hello, ticket=minted)


def a_ticket_moves_to_another_manifest() -> Attack:
    """The agent trusted one manifest; its session goes on under another."""
    stage = Stage()
    first, second = stage.boot(), stage.boot(manifest=dataclasses.replace(MANIFEST, digest=bytes(48)))
    established, _ = first.establish()
    hello = second.agent(resumes=established.session_id).hello
    return lambda: second.accept(hello, ticket=established.ticket)


def the_answer_of_another_key() -> Attack:
    """C: an enclave with the same measurements but another receipt key answers; it knows the hello's content."""
    boot = Stage().boot()
    agent = boot.agent()
    other = BootKeys.hold(
        ec.generate_private_key(ec.SECP384R1()),
        boot.keys.hpke_keys,
        boot.keys.statement.boot_id,
        boot.keys.statement.manifest_digest,
    )
    impostor = dataclasses.replace(other, statement=boot.keys.statement)
    boot.handshake = session_enclave.EnclaveHandshake(impostor, limits=boot.stage.limits)
    boot.handshake.attested(Hello.parse(agent.hello).nonce, now_ms=ENCLAVE_MS)
    response = boot.accept(agent.hello).response
    return lambda: agent.finish(response)


def f10_a_record_is_replayed() -> Attack:
    """F10: the parent sends a sealed request again."""
    agent, enclave = end(Role.AGENT), end(Role.ENCLAVE)
    record = agent.seal(b"pay", now_ms=0).record
    enclave.open(record, now_ms=0)
    return lambda: enclave.open(record, now_ms=0)


def a_record_moves_to_another_boot() -> Attack:
    """The same keys on a boot that the agent did not appraise."""
    record = end(Role.AGENT).seal(b"pay", now_ms=0).record
    return lambda: end(Role.ENCLAVE, boot_id=bytes(32)).open(record, now_ms=0)


def h16_a_receipt_signed_by_the_parent() -> Attack:
    """H16: every field right, signed with another key."""
    book = Book(1)
    forged = sign_receipt(parse_receipt(book.receipts[0]).payload, ec.generate_private_key(ec.SECP384R1()))
    return lambda: verify_receipt(forged, book.identity)


def a_receipt_of_another_boot_under_the_same_key() -> Attack:
    """A key that outlives its boot: receipts still belong to one boot."""
    book = Book(1)
    keys = BootKeys.hold(book.keys.receipt_key, book.keys.hpke_keys, bytes(32), MANIFEST)
    return lambda: verify_receipt(book.receipts[0], appraised(keys))


ATTACKS: dict[Callable[[], Attack], Check] = {
    f2_a_hello_is_replayed: (session_waiting, "self._used.add(nonce)", "pass"),
    f9_a_document_made_for_another_purpose: (
        session_identity,
        "public_key is None or not hmac.compare_digest(public_key, parsed.receipt_key)",
        "False",
    ),
    c_keys_of_the_parent_in_an_honest_statement: (
        session_identity,
        "user_data is None or not hmac.compare_digest(user_data, found.digest)",
        "False",
    ),
    b3_a_parent_creates_a_session: (
        session_enclave,
        "not signature_holds(grant.public_key, signature, body.signed(info))",
        "False",
    ),
    b3_a_parent_mints_the_key_of_a_ticket: (
        session_ticket,
        "not signature_holds(grant.public_key, ticket.signature, ticket.signed())",
        "False",
    ),
    a_ticket_moves_to_another_manifest: (
        session_enclave,
        "verified.manifest_digest != self._boot.statement.manifest_digest",
        "False",
    ),
    the_answer_of_another_key: (
        session_signature,
        "key.verify(encode_dss_signature(r, s), data, ECDSA(SHA384()))",
        "encode_dss_signature(r, s)",
    ),
    f10_a_record_is_replayed: (
        session_window,
        "behind >= REPLAY_WINDOW_RECORDS or (behind >= 0 and self._seen >> behind & 1)",
        "behind >= REPLAY_WINDOW_RECORDS",
    ),
    a_record_moves_to_another_boot: (session, "pack(RECORD, header, self._boot_id)", "pack(RECORD, header)"),
    h16_a_receipt_signed_by_the_parent: (
        session_signature,
        "key.verify(encode_dss_signature(r, s), data, ECDSA(SHA384()))",
        "encode_dss_signature(r, s)",
    ),
}


@pytest.mark.parametrize("stage", ATTACKS, ids=lambda stage: stage.__name__)
def test_the_attack_is_refused(stage: Callable[[], Attack]) -> None:
    attack = stage()
    with pytest.raises(PcrgateError):
        attack()


@pytest.mark.parametrize("stage", ATTACKS, ids=lambda stage: stage.__name__)
def test_the_check_is_what_refuses_it(stage: Callable[[], Attack]) -> None:
    with mutant(*ATTACKS[stage]):
        attack = stage()
        assert succeeds(attack)


DOUBLY: dict[Callable[[], Attack], tuple[ModuleType, tuple[str, str], tuple[str, str]]] = {
    a_receipt_of_another_boot_under_the_same_key: (
        verification,
        ("statement.boot_id,", "claims.attested.boot_id,"),
        ("identity.digest,\n        statement", "claims.attested.identity,\n        statement"),
    ),
}


@pytest.mark.parametrize("stage", DOUBLY, ids=lambda stage: stage.__name__)
def test_what_two_lines_refuse(stage: Callable[[], Attack]) -> None:
    module, first, second = DOUBLY[stage]
    assert not succeeds(stage())
    with mutant(module, *first, second):
        assert succeeds(stage())


def test_h17_a_dropped_refusal_does_not_close() -> None:
    book = Book(1)
    book.issued += [book.refuse(), book.issue("after")]
    left = [book.receipts[0], book.receipts[2]]
    assert not succeeds(lambda: verify_chain(left, book.identity))
    with mutant(verification, "observed.sequence > expected", "False"):
        assert not succeeds(lambda: verify_chain(left, book.identity))
    with mutant(
        verification,
        "observed.sequence > expected",
        "False",
        ("observed.previous != (identity.digest if previous is None else previous.digest)", "False"),
    ):
        assert succeeds(lambda: verify_chain(left, book.identity))


def test_a10_no_two_purposes_share_a_preimage() -> None:
    """What is hashed into ``user_data``, and what the receipt key signs, differ in their first bytes by purpose."""
    statement = BootKeys.generate(MANIFEST).statement.encode()
    document_signed = encode(("Signature1", b"\xa1\x01\x38\x22", b"", b"payload"))
    assert statement[0] == 0
    assert document_signed[0] == signed_bytes(b"payload")[0] == 0x84
    assert document_signed[:16] != signed_bytes(b"payload")[:16]
    assert encode(["pcrgate kms request v1", "Decrypt", {}])[0] != statement[0]
    assert request_commitment("Decrypt", {}) != session_fields.digest(statement).digest


def test_a10_fields_cannot_be_shifted() -> None:
    def collide() -> object:
        if pack(b"label", b"ab", b"c") != pack(b"label", b"a", b"bc"):
            raise ValueError
        return True

    assert not succeeds(collide)
    with mutant(session_fields, 'parts += [len(field).to_bytes(LENGTH_BYTES, "big"), field]', "parts += [field]"):
        assert succeeds(collide)
