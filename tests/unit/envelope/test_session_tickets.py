"""Another enclave goes on with a session when the agent says so, and only then."""

import dataclasses
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pcrgate.envelope.hpke import HpkeSuite
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session_keys import key_commitment
from pcrgate.envelope.session_limits import SessionGrant, SessionLimits
from pcrgate.envelope.session_ticket import Ticket, session_context, verify_commitment, verify_ticket
from pcrgate.errors import ErrorCode
from pcrgate.units import Sha384
from tests.unit.envelope.session_stage import AGENT, AGENT_MS, ENCLAVE_MS, MANIFEST, Boot, Stage, refusal, talk


def signed(ticket: Ticket, key: Ed25519PrivateKey) -> bytes:
    return ticket.signed_by(key.sign(ticket.signed())).encode()


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.mark.parametrize("suite", list(HpkeSuite))
def test_another_enclave_resumes_with_fresh_keys(stage: Stage, suite: HpkeSuite) -> None:
    first, second = stage.boot(), stage.boot()
    established, session = first.establish(first.agent(suite=suite))
    old = established.session.seal(b"before", now_ms=AGENT_MS)
    agent = second.agent(suite=suite, resumes=established.session_id)
    resumed, session_2 = second.establish(agent, ticket=established.ticket)
    talk(resumed, session_2)
    assert resumed.session_id == established.session_id
    assert [call for call, _ in stage.kms.calls] == ["generate", "unwrap"]
    # Nothing sealed for one boot opens on the other, in either direction of time.
    assert refusal(lambda: session_2.open(old.record, now_ms=ENCLAVE_MS)) is ErrorCode.SESSION_OPEN
    new = resumed.session.seal(b"after", now_ms=AGENT_MS)
    assert refusal(lambda: session.open(new.record, now_ms=ENCLAVE_MS)) is ErrorCode.SESSION_OPEN


def test_the_new_ticket_resumes_on_a_third(stage: Stage) -> None:
    ticket, session_id = None, b""
    for _ in range(3):
        boot = stage.boot()
        established, session = boot.establish(boot.agent(resumes=session_id), ticket=ticket)
        talk(established, session)
        ticket, session_id = established.ticket, established.session_id


def test_a_resumed_session_does_not_live_longer(stage: Stage) -> None:
    first, second = stage.boot(), stage.boot()
    established, session = first.establish(first.agent(limits=SessionLimits(lifetime_s=60)))
    agent = second.agent(resumes=established.session_id, limits=SessionLimits(lifetime_s=3_600))
    resumed, session_2 = second.establish(agent, ticket=established.ticket)
    assert session_2.expires_ms == session.expires_ms == resumed.enclave_expires_ms
    assert resumed.session.limits.lifetime_s == 60


def test_an_expired_ticket_is_refused(stage: Stage) -> None:
    first, second = stage.boot(), stage.boot()
    established, session = first.establish(first.agent(limits=SessionLimits(lifetime_s=60)))
    for now_ms, code in ((session.expires_ms, ErrorCode.SESSION_EXPIRED), (session.expires_ms - 1, None)):
        hello = second.agent(resumes=established.session_id).hello
        found = refusal(lambda hello=hello, now=now_ms: second.accept(hello, ticket=established.ticket, now_ms=now))
        assert found is code


def test_another_manifest_is_another_trust_decision(stage: Stage) -> None:
    first, second = stage.boot(), stage.boot(manifest=Sha384(bytes(48)))
    established, _ = first.establish()
    hello = second.agent(resumes=established.session_id).hello
    assert refusal(lambda: second.accept(hello, ticket=established.ticket)) is ErrorCode.SESSION_TICKET
    assert [call for call, _ in stage.kms.calls] == ["generate"]


def test_a_ticket_is_there_exactly_when_it_is_needed(stage: Stage) -> None:
    first, second = stage.boot(), stage.boot()
    established, _ = first.establish()
    without = second.agent(resumes=established.session_id).hello
    assert refusal(lambda: second.accept(without)) is ErrorCode.SESSION_TICKET
    new = second.agent().hello
    assert refusal(lambda: second.accept(new, ticket=established.ticket)) is ErrorCode.SESSION_TICKET


def test_the_ticket_of_another_session_is_refused(stage: Stage) -> None:
    first, second = stage.boot(), stage.boot()
    one, _ = first.establish()
    other, _ = first.establish()
    hello = second.agent(resumes=one.session_id).hello
    assert refusal(lambda: second.accept(hello, ticket=other.ticket)) is ErrorCode.SESSION_TICKET


def test_every_flipped_byte_of_a_ticket_is_refused_before_kms_is_asked(stage: Stage) -> None:
    first, second = stage.boot(), stage.boot()
    established, _ = first.establish()
    hello, ticket = second.agent(resumes=established.session_id).hello, established.ticket
    for at in range(len(ticket)):
        changed = ticket[:at] + bytes((ticket[at] ^ 1,)) + ticket[at + 1 :]
        assert refusal(lambda changed=changed: second.accept(hello, ticket=changed)) is not None
    assert [call for call, _ in stage.kms.calls] == ["generate"]
    assert second.accept(hello, ticket=ticket).resumed


def test_a_ticket_of_another_agent_is_refused(stage: Stage) -> None:
    first, second = stage.boot(), stage.boot()
    established, _ = first.establish()
    other_key = Ed25519PrivateKey.generate()
    grants = {
        AGENT: stage.grant(AGENT),
        "agent-2": SessionGrant(
            agent_id="agent-2",
            public_key=other_key.public_key().public_bytes_raw(),
            expires_ms=ENCLAVE_MS + 1_000_000,
            limits=SessionLimits(),
        ),
    }
    thief = second.agent(agent_id="agent-2", grant_key=other_key, resumes=established.session_id)
    own_words = dataclasses.replace(Ticket.parse(established.ticket), agent_id=AGENT)
    for ticket in (established.ticket, signed(own_words, other_key)):
        code = refusal(
            lambda ticket=ticket: second.handshake.accept(
                thief.hello, grants=grants.get, data_keys=stage.kms, now_ms=ENCLAVE_MS, ticket=ticket
            )
        )
        assert code is ErrorCode.SESSION_TICKET
    # Renamed to the thief and signed by it, the ticket is the thief's own word: KMS refuses the context.
    renamed = signed(dataclasses.replace(Ticket.parse(established.ticket), agent_id="agent-2"), other_key)
    code = refusal(
        lambda: second.handshake.accept(
            thief.hello, grants=grants.get, data_keys=stage.kms, now_ms=ENCLAVE_MS, ticket=renamed
        )
    )
    assert code is ErrorCode.KMS_RESPONSE


def mint(stage: Stage, boot: Boot, ticket: Ticket, known_key: bytes) -> Ticket:
    """What a parent with ``kms:Encrypt`` can do: wrap a key it knows under the very context, and commit to it."""
    blob = stage.kms.encrypt(known_key, ticket.context)
    return dataclasses.replace(ticket, blob=blob, commitment=key_commitment(SecretBytes(known_key), ticket.transcript))


def test_a_parent_that_mints_a_wrapped_key_cannot_resume(stage: Stage) -> None:
    first, second = stage.boot(), stage.boot()
    established, _ = first.establish()
    known = secrets.token_bytes(32)
    minted = mint(stage, second, Ticket.parse(established.ticket), known)
    parent_key = Ed25519PrivateKey.generate()
    hello = second.agent(resumes=established.session_id).hello
    for forged in (minted.encode(), signed(minted, parent_key)):
        assert refusal(lambda forged=forged: second.accept(hello, ticket=forged)) is ErrorCode.SESSION_TICKET
    assert "unwrap" not in [call for call, _ in stage.kms.calls]


def test_a_parent_that_mints_a_wrapped_key_cannot_create_a_session(stage: Stage) -> None:
    boot = stage.boot()
    parent_key = Ed25519PrivateKey.generate()
    assert refusal(lambda: boot.accept(boot.agent(grant_key=parent_key).hello)) is ErrorCode.SESSION_HELLO
    session_id = bytes(16)
    context = session_context(session_id, AGENT, MANIFEST)
    known = secrets.token_bytes(32)
    ticket = Ticket(
        session_id=session_id,
        agent_id=AGENT,
        manifest_digest=MANIFEST,
        boot_id=boot.keys.statement.boot_id,
        transcript=MANIFEST,
        expires_ms=ENCLAVE_MS + 1_000_000,
        blob=stage.kms.encrypt(known, context),
        commitment=key_commitment(SecretBytes(known), MANIFEST),
    )
    agent = boot.agent(grant_key=parent_key, resumes=session_id)
    assert refusal(lambda: boot.accept(agent.hello, ticket=signed(ticket, parent_key))) is ErrorCode.SESSION_HELLO
    assert refusal(lambda: boot.handshake.confirm(signed(ticket, parent_key), now_ms=0)) is ErrorCode.SESSION_UNKNOWN
    assert stage.kms.calls == []


def test_the_unwrapped_key_is_the_one_the_agent_confirmed(stage: Stage) -> None:
    """KMS unwraps another key under the same context: the commitment does not fit."""
    first, second = stage.boot(), stage.boot()
    established, _ = first.establish()
    ticket = Ticket.parse(established.ticket)
    other = dataclasses.replace(ticket, blob=stage.kms.encrypt(bytes(32), ticket.context))
    hello = second.agent(resumes=established.session_id).hello
    code = refusal(lambda: second.accept(hello, ticket=signed(other, stage.grant_key)))
    assert code is ErrorCode.SESSION_TICKET


@pytest.mark.parametrize("length", [31, 33, 0])
def test_an_unwrapped_key_of_another_length_is_refused(stage: Stage, length: int) -> None:
    first, second = stage.boot(), stage.boot()
    established, _ = first.establish()
    ticket = Ticket.parse(established.ticket)
    other = dataclasses.replace(ticket, blob=stage.kms.encrypt(bytes(length), ticket.context))
    hello = second.agent(resumes=established.session_id).hello
    code = refusal(lambda: second.accept(hello, ticket=signed(other, stage.grant_key)))
    assert code is ErrorCode.SESSION_OPEN
    grant = stage.grant(AGENT)
    assert grant is not None
    verified = verify_ticket(Ticket.parse(established.ticket), grant)
    assert refusal(lambda: verify_commitment(verified, SecretBytes(bytes(length)))) is ErrorCode.SESSION_TICKET


def test_a_data_key_alone_opens_nothing(stage: Stage) -> None:
    """Who can make KMS unwrap the blob later (the key's administrator) lacks the agent's secret of the hello."""
    boot = stage.boot()
    agent = boot.agent()
    offer = boot.accept(agent.hello)
    established = agent.finish(offer.response)
    ticket = Ticket.parse(established.ticket)
    from pcrgate.envelope.session_keys import session_keys

    data_key = stage.kms.unwrap(ticket.blob, ticket.context)
    guessed = session_keys(data_key, SecretBytes(bytes(32)), ticket.transcript)
    real = session_keys(data_key, SecretBytes(agent._body.secret), ticket.transcript)
    assert guessed.agent_to_enclave.secret != real.agent_to_enclave.secret
    assert key_commitment(data_key, ticket.transcript) == ticket.commitment


def test_a_ticket_is_read_back(stage: Stage) -> None:
    boot = stage.boot()
    established, session = boot.establish()
    ticket = Ticket.parse(established.ticket)
    assert ticket.encode() == established.ticket
    assert ticket.digest != Sha384(bytes(48))
    assert ticket.context["session"] == session.session_id.hex()
