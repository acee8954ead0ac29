"""Two parties agree, and nobody in between can make them agree on something else."""

import dataclasses
import secrets
from collections.abc import Callable, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pcrgate.envelope.hpke import HpkePrivateKey, HpkeSuite
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session_agent import PREFERRED_SUITE, AgentHandshake
from pcrgate.envelope.session_fields import pack
from pcrgate.envelope.session_identity import BootKeys
from pcrgate.envelope.session_keys import session_keys
from pcrgate.envelope.session_labels import HELLO_BODY
from pcrgate.envelope.session_limits import BYTES_MAX, LIFETIME_MAX_S, RECORDS_MAX, SessionGrant, SessionLimits
from pcrgate.envelope.session_messages import (
    BLOB_MAX_BYTES,
    NONCE_MAX_BYTES,
    Hello,
    HelloBody,
    Response,
    hello_info,
    parse_hello_body,
)
from pcrgate.envelope.session_ticket import Ticket
from pcrgate.envelope.session_waiting import (
    NONCE_LIFE_MS,
    NONCES_MAX,
    WAITING_LIFE_MS,
    WAITING_MAX,
    WAITING_PER_AGENT_MAX,
    Nonces,
    WaitingHandshake,
    WaitingHandshakes,
)
from pcrgate.errors import ErrorCode, SessionError, UsageError
from pcrgate.units import NONCE_MIN_BYTES, Sha384
from tests.unit.envelope.session_stage import (
    AGENT,
    AGENT_MS,
    ENCLAVE_MS,
    MANIFEST,
    Boot,
    Stage,
    WrappingKey,
    refusal,
    talk,
)


@pytest.mark.parametrize("suite", list(HpkeSuite))
def test_two_parties_agree(suite: HpkeSuite) -> None:
    boot = Stage().boot()
    established, session = boot.establish(boot.agent(suite=suite))
    talk(established, session)
    assert established.session_id == session.session_id
    assert session.agent_id == AGENT
    assert boot.stage.kms.calls == [
        (
            "generate",
            {"class": "session", "session": session.session_id.hex(), "agent": AGENT, "manifest": MANIFEST.hex()},
        )
    ]


def test_agents_prefer_the_hybrid() -> None:
    assert PREFERRED_SUITE is HpkeSuite.MLKEM768_X25519
    boot = Stage().boot()
    agent = AgentHandshake(
        identity=boot.identity, nonce=bytes(32), agent_id=AGENT, grant_key=boot.stage.grant_key, now_ms=AGENT_MS
    )
    assert Hello.parse(agent.hello).suite is PREFERRED_SUITE


def test_limits_are_the_smallest_of_three() -> None:
    stage = Stage(limits=SessionLimits(lifetime_s=600, max_records=50, max_bytes=9_000))
    boot = stage.boot(limits=SessionLimits(lifetime_s=900, max_records=40, max_bytes=9_999))
    established, session = boot.establish(boot.agent(limits=SessionLimits(lifetime_s=700, max_records=99, max_bytes=5)))
    assert session.limits == established.session.limits == SessionLimits(lifetime_s=600, max_records=40, max_bytes=5)
    assert session.expires_ms == established.enclave_expires_ms == ENCLAVE_MS + 600_000
    assert established.session.expires_ms == AGENT_MS + 600_000


def test_a_session_ends_with_its_grant() -> None:
    boot = Stage(grant_expires_ms=ENCLAVE_MS + 5_500).boot()
    established, session = boot.establish()
    assert session.expires_ms == ENCLAVE_MS + 5_500
    assert established.session.limits.lifetime_s == 5


@pytest.mark.parametrize(
    "limits",
    [
        {"lifetime_s": LIFETIME_MAX_S},
        {"lifetime_s": 1},
        {"max_records": RECORDS_MAX},
        {"max_records": 1},
        {"max_bytes": BYTES_MAX},
        {"max_bytes": 1},
    ],
)
def test_limits_within_their_bounds(limits: dict[str, int]) -> None:
    held = dataclasses.asdict(SessionLimits(**limits))
    assert {name: held[name] for name in limits} == limits


@pytest.mark.parametrize(
    "limits",
    [
        {"lifetime_s": LIFETIME_MAX_S + 1},
        {"lifetime_s": 0},
        {"max_records": RECORDS_MAX + 1},
        {"max_records": 0},
        {"max_bytes": BYTES_MAX + 1},
        {"max_bytes": 0},
        {"lifetime_s": True},
    ],
)
def test_limits_outside_them(limits: dict[str, int]) -> None:
    with pytest.raises(UsageError) as caught:
        SessionLimits(**limits)
    assert caught.value.code is ErrorCode.USAGE_SESSION


# --- hello ------------------------------------------------------------------------------------------------------------


def test_a_hello_for_another_boot_is_refused() -> None:
    stage = Stage()
    boot, other = stage.boot(), stage.boot()
    nonce = boot.attest()
    other.handshake.attested(nonce, now_ms=ENCLAVE_MS)
    assert refusal(lambda: other.accept(boot.agent(nonce=nonce).hello)) is ErrorCode.SESSION_IDENTITY
    assert stage.kms.calls == []


def test_a_hello_relabelled_for_another_boot_does_not_open() -> None:
    stage = Stage()
    boot, other = stage.boot(), stage.boot()
    nonce = boot.attest()
    other.handshake.attested(nonce, now_ms=ENCLAVE_MS)
    hello = dataclasses.replace(Hello.parse(boot.agent(nonce=nonce).hello), identity=other.identity.digest)
    assert refusal(lambda: other.accept(hello.encode())) is ErrorCode.SESSION_OPEN


@pytest.mark.parametrize("suite", list(HpkeSuite))
def test_every_flipped_byte_of_a_hello_is_refused(suite: HpkeSuite) -> None:
    boot = Stage().boot()
    nonce = boot.attest()
    hello = boot.agent(nonce=nonce, suite=suite).hello
    for at in range(0, len(hello), 1 if suite is HpkeSuite.X25519 else 13):
        changed = hello[:at] + bytes((hello[at] ^ 1,)) + hello[at + 1 :]
        assert refusal(lambda changed=changed: boot.accept(changed)) is not None
    assert boot.stage.kms.calls == []
    assert boot.accept(hello).agent_id == AGENT


def test_a_nonce_begins_one_handshake() -> None:
    boot = Stage().boot()
    nonce = boot.attest()
    hello = boot.agent(nonce=nonce).hello
    boot.accept(hello)
    assert refusal(lambda: boot.accept(hello)) is ErrorCode.SESSION_NONCE
    assert refusal(lambda: boot.handshake.attested(nonce, now_ms=ENCLAVE_MS)) is ErrorCode.SESSION_NONCE
    assert refusal(lambda: boot.accept(hello)) is ErrorCode.SESSION_NONCE
    assert len(boot.stage.kms.calls) == 1


def test_a_nonce_without_evidence_begins_none() -> None:
    boot = Stage().boot()
    assert refusal(lambda: boot.accept(boot.agent(nonce=bytes(32)).hello)) is ErrorCode.SESSION_NONCE


def test_a_nonce_is_asked_about_before_anything_is_opened() -> None:
    boot = Stage().boot()
    hello = dataclasses.replace(Hello.parse(boot.agent(nonce=bytes(32)).hello), sealed=b"garbage").encode()
    assert refusal(lambda: boot.accept(hello)) is ErrorCode.SESSION_NONCE


def test_a_nonce_ages() -> None:
    boot = Stage().boot()
    hello = boot.agent().hello
    late = ENCLAVE_MS + NONCE_LIFE_MS
    assert refusal(lambda: boot.accept(hello, now_ms=late)) is ErrorCode.SESSION_NONCE
    assert boot.accept(hello, now_ms=late - 1).agent_id == AGENT


@pytest.mark.parametrize("length", [NONCE_MIN_BYTES, NONCE_MAX_BYTES])
def test_nonces_within_their_length(length: int) -> None:
    boot = Stage().boot()
    nonce = secrets.token_bytes(length)
    boot.handshake.attested(nonce, now_ms=ENCLAVE_MS)
    assert boot.accept(boot.agent(nonce=nonce).hello).agent_id == AGENT


@pytest.mark.parametrize("length", [NONCE_MIN_BYTES - 1, NONCE_MAX_BYTES + 1])
def test_nonces_outside_it(length: int) -> None:
    boot = Stage().boot()
    assert refusal(lambda: boot.handshake.attested(bytes(length), now_ms=0)) is ErrorCode.SESSION_MESSAGE
    assert refusal(lambda: boot.agent(nonce=bytes(length))) is ErrorCode.SESSION_MESSAGE
    hello = dataclasses.replace(Hello.parse(boot.agent().hello), nonce=bytes(length))
    assert refusal(lambda: boot.accept(hello.encode())) is ErrorCode.SESSION_MESSAGE


def test_the_oldest_nonce_is_forgotten_first() -> None:
    nonces = Nonces()
    for number in range(NONCES_MAX + 1):
        nonces.attested(number.to_bytes(16, "big"), 0)
    assert refusal(lambda: nonces.require(bytes(16), 1)) is ErrorCode.SESSION_NONCE
    nonces.require((1).to_bytes(16, "big"), 1)
    nonces.use((1).to_bytes(16, "big"), 1)
    nonces.attested((1).to_bytes(16, "big"), NONCE_LIFE_MS)  # long ago enough


def test_who_is_not_in_the_manifest_is_refused_like_a_wrong_key() -> None:
    boot = Stage().boot()
    cases: list[Callable[[], AgentHandshake]] = [
        lambda: boot.agent(agent_id="stranger"),
        lambda: boot.agent(grant_key=Ed25519PrivateKey.generate()),
    ]
    found = []
    for case in cases:
        with pytest.raises(SessionError) as caught:
            boot.accept(case().hello)
        found.append((caught.value.code, caught.value.message))
    boot.stage.grant_expires_ms = ENCLAVE_MS
    with pytest.raises(SessionError) as caught:
        boot.accept(boot.agent().hello)
    found.append((caught.value.code, caught.value.message))
    assert set(found) == {(ErrorCode.SESSION_HELLO, "the hello was refused")}
    assert boot.stage.kms.calls == []


def test_a_lookup_that_answers_with_another_agent_is_not_believed() -> None:
    boot = Stage().boot()
    grant = boot.stage.grant(AGENT)
    assert grant is not None
    other = dataclasses.replace(grant, agent_id="agent-2")
    agent = boot.agent()
    code = refusal(
        lambda: boot.handshake.accept(agent.hello, grants=lambda _: other, data_keys=boot.stage.kms, now_ms=ENCLAVE_MS)
    )
    assert code is ErrorCode.SESSION_HELLO


def test_a_grant_key_that_cannot_be_read_signs_nothing() -> None:
    boot = Stage().boot()
    grant = SessionGrant(agent_id=AGENT, public_key=b"short", expires_ms=ENCLAVE_MS + 1_000, limits=SessionLimits())
    code = refusal(
        lambda: boot.handshake.accept(
            boot.agent().hello, grants=lambda _: grant, data_keys=boot.stage.kms, now_ms=ENCLAVE_MS
        )
    )
    assert code is ErrorCode.SESSION_HELLO


def body(**changes: object) -> HelloBody:
    values: dict[str, object] = {
        "agent_id": AGENT,
        "resumes": b"",
        "response_key": HpkePrivateKey.generate(HpkeSuite.X25519).public_key,
        "limits": SessionLimits(),
        "secret": bytes(32),
        **changes,
    }
    return HelloBody(**values)  # type: ignore[arg-type]


def sealed_hello(boot: Boot, nonce: bytes, inner: bytes) -> bytes:
    suite = HpkeSuite.X25519
    info = hello_info(suite, boot.identity.digest, nonce)
    sealed = boot.identity.statement.hpke_keys[suite].seal(inner, info=info)
    return Hello(suite=suite, identity=boot.identity.digest, nonce=nonce, sealed=sealed).encode()


def signed_body(boot: Boot, nonce: bytes, made: HelloBody) -> bytes:
    info = hello_info(HpkeSuite.X25519, boot.identity.digest, nonce)
    return made.encode(boot.stage.grant_key.sign(made.signed(info)))


@pytest.mark.parametrize(
    "changes",
    [{"secret": bytes(31)}, {"secret": bytes(33)}, {"resumes": bytes(15)}, {"agent_id": "a\n"}, {"agent_id": ""}],
)
def test_a_signed_body_that_is_none_is_refused(changes: dict[str, object]) -> None:
    boot = Stage().boot()
    nonce = boot.attest()
    hello = sealed_hello(boot, nonce, signed_body(boot, nonce, body(**changes)))
    assert refusal(lambda: boot.accept(hello)) is ErrorCode.SESSION_HELLO


def test_the_signature_of_one_hello_does_not_serve_another() -> None:
    """Same boot, same body, another nonce: the grant key spoke about the first."""
    boot = Stage().boot()
    first, second = boot.attest(), boot.attest()
    hello = sealed_hello(boot, second, signed_body(boot, first, body()))
    assert refusal(lambda: boot.accept(hello)) is ErrorCode.SESSION_HELLO


def test_a_body_shows_nothing() -> None:
    assert repr(body(secret=b"\x7f" * 32)) == "HelloBody(hidden)"


def test_limits_in_a_body_are_bounded() -> None:
    fields = body().fields()
    encoded = pack(HELLO_BODY, *fields[:3], LIFETIME_MAX_S + 1, *fields[4:], bytes(64))
    assert refusal(lambda: parse_hello_body(encoded, HpkeSuite.X25519)) is ErrorCode.SESSION_MESSAGE


def test_an_agent_id_is_utf8() -> None:
    encoded = pack(HELLO_BODY, b"\xff", *body().fields()[1:], bytes(64))
    assert refusal(lambda: parse_hello_body(encoded, HpkeSuite.X25519)) is ErrorCode.SESSION_MESSAGE


def test_the_length_of_an_agent_id() -> None:
    boot = Stage().boot()
    assert boot.agent(agent_id="a" * 128).hello
    for name in ("a" * 129, "", "tab\t"):
        assert refusal(lambda name=name: boot.agent(agent_id=name)) is ErrorCode.SESSION_MESSAGE


# --- answer -----------------------------------------------------------------------------------------------------------


def test_every_flipped_byte_of_an_answer_is_refused() -> None:
    boot = Stage().boot()
    agent = boot.agent()
    response = boot.accept(agent.hello).response
    for at in range(len(response)):
        changed = response[:at] + bytes((response[at] ^ 1,)) + response[at + 1 :]
        assert refusal(lambda changed=changed: agent.finish(changed)) is not None
    talk(agent.finish(response), boot.handshake.confirm(agent.finish(response).ticket, now_ms=ENCLAVE_MS))


def test_the_answer_to_another_hello_is_refused() -> None:
    boot = Stage().boot()
    first, second = boot.agent(), boot.agent()
    response = boot.accept(first.hello).response
    assert refusal(lambda: second.finish(response)) is ErrorCode.SESSION_RESPONSE


def answer_as_the_enclave(boot: Boot, agent: AgentHandshake, **changes: object) -> bytes:
    """Answer with other fields, signed by the receipt key: what a broken enclave might do."""
    from pcrgate.envelope.session_messages import response_info, response_signed, transcript
    from pcrgate.envelope.session_signature import sign_es384

    values: dict[str, object] = {
        "session_id": bytes(16),
        "blob": b"blob",
        "limits": SessionLimits(),
        "expires_ms": ENCLAVE_MS + 1_000,
        "data_key": bytes(32),
        **changes,
    }
    data_key = values.pop("data_key")
    assert isinstance(data_key, bytes)
    hashed = transcript(agent.hello, agent._body, **values)  # type: ignore[arg-type]
    sealed = agent._body.response_key.seal(data_key, info=response_info(hashed))
    signature = sign_es384(boot.keys.receipt_key, response_signed(hashed, sealed))
    return Response(sealed=sealed, signature=signature, **values).encode()  # type: ignore[arg-type]


def test_an_answer_that_grants_more_is_refused() -> None:
    boot = Stage().boot()
    agent = boot.agent(limits=SessionLimits(lifetime_s=60))
    for limits in ({"lifetime_s": 61}, {"lifetime_s": 60}):
        response = answer_as_the_enclave(boot, agent, limits=SessionLimits(**limits))
        code = refusal(lambda response=response: agent.finish(response))
        assert code is (ErrorCode.SESSION_RESPONSE if limits["lifetime_s"] > 60 else None)


def test_an_answer_about_another_session_than_the_one_to_resume_is_refused() -> None:
    boot = Stage().boot()
    agent = boot.agent(resumes=b"\1" * 16)
    for session_id, code in ((b"\1" * 16, None), (b"\2" * 16, ErrorCode.SESSION_RESPONSE)):
        response = answer_as_the_enclave(boot, agent, session_id=session_id)
        assert refusal(lambda response=response: agent.finish(response)) is code


def test_a_data_key_of_another_length_is_refused_on_both_sides() -> None:
    boot = Stage().boot()
    agent = boot.agent()
    response = answer_as_the_enclave(boot, agent, data_key=bytes(31))
    assert refusal(lambda: agent.finish(response)) is ErrorCode.SESSION_OPEN

    class Short(WrappingKey):
        def generate(self, context: Mapping[str, str]) -> tuple[SecretBytes, bytes]:
            assert context["class"] == "session"
            return SecretBytes(bytes(31)), b"blob"

    boot.stage.kms = Short()
    assert refusal(lambda: boot.accept(boot.agent().hello)) is ErrorCode.SESSION_OPEN
    assert (
        refusal(lambda: session_keys(SecretBytes(bytes(33)), SecretBytes(bytes(32)), MANIFEST))
        is ErrorCode.SESSION_OPEN
    )


@pytest.mark.parametrize(
    ("length", "fine"), [(1, True), (BLOB_MAX_BYTES, True), (0, False), (BLOB_MAX_BYTES + 1, False)]
)
def test_the_length_of_a_wrapped_key(length: int, fine: bool) -> None:
    boot = Stage().boot()

    class Blob(WrappingKey):
        def generate(self, context: Mapping[str, str]) -> tuple[SecretBytes, bytes]:
            assert context["class"] == "session"
            return SecretBytes(bytes(32)), bytes(length)

    boot.stage.kms = Blob()
    assert refusal(lambda: boot.accept(boot.agent().hello)) is (None if fine else ErrorCode.SESSION_MESSAGE)


# --- confirmation -----------------------------------------------------------------------------------------------------


def test_nothing_opens_before_the_confirmation() -> None:
    boot = Stage().boot()
    agent = boot.agent()
    offer = boot.accept(agent.hello)
    assert len(boot.handshake._waiting) == 1
    ticket = agent.finish(offer.response).ticket
    boot.handshake.confirm(ticket, now_ms=ENCLAVE_MS)
    assert len(boot.handshake._waiting) == 0
    assert refusal(lambda: boot.handshake.confirm(ticket, now_ms=ENCLAVE_MS)) is ErrorCode.SESSION_UNKNOWN


def test_a_confirmation_comes_within_a_minute() -> None:
    boot = Stage().boot()
    agents = [boot.agent(), boot.agent()]
    tickets = [agent.finish(boot.accept(agent.hello).response).ticket for agent in agents]
    boot.handshake.confirm(tickets[0], now_ms=ENCLAVE_MS + WAITING_LIFE_MS - 1)
    code = refusal(lambda: boot.handshake.confirm(tickets[1], now_ms=ENCLAVE_MS + WAITING_LIFE_MS))
    assert code is ErrorCode.SESSION_UNKNOWN


def test_every_flipped_byte_of_a_confirmation_is_refused() -> None:
    boot = Stage().boot()
    agent = boot.agent()
    ticket = agent.finish(boot.accept(agent.hello).response).ticket
    for at in range(len(ticket)):
        changed = ticket[:at] + bytes((ticket[at] ^ 1,)) + ticket[at + 1 :]
        assert refusal(lambda changed=changed: boot.handshake.confirm(changed, now_ms=ENCLAVE_MS)) is not None
    boot.handshake.confirm(ticket, now_ms=ENCLAVE_MS)


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest_digest": Sha384(bytes(48))},
        {"boot_id": bytes(32)},
        {"transcript": Sha384(bytes(48))},
        {"expires_ms": ENCLAVE_MS + 86_400_000},
        {"blob": b"another blob"},
        {"commitment": bytes(48)},
    ],
)
def test_an_agent_confirms_this_handshake_or_nothing(changes: dict[str, object]) -> None:
    """Signed by the right key, but about something else."""
    boot = Stage().boot()
    agent = boot.agent()
    ticket = Ticket.parse(agent.finish(boot.accept(agent.hello).response).ticket)
    other = dataclasses.replace(ticket, **changes)  # type: ignore[arg-type]
    signed = other.signed_by(boot.stage.grant_key.sign(other.signed()))
    code = refusal(lambda: boot.handshake.confirm(signed.encode(), now_ms=ENCLAVE_MS))
    assert code is ErrorCode.SESSION_TICKET


# --- tables -----------------------------------------------------------------------------------------------------------


def waiting(agent_id: str) -> WaitingHandshake:
    keys = session_keys(SecretBytes(bytes(32)), SecretBytes(bytes(32)), MANIFEST)
    grant = SessionGrant(agent_id=agent_id, public_key=bytes(32), expires_ms=1, limits=SessionLimits())
    return WaitingHandshake(
        grant=grant,
        transcript=MANIFEST,
        commitment=bytes(48),
        blob=b"blob",
        keys=keys,
        limits=SessionLimits(),
        expires_ms=1,
        until_ms=1_000,
    )


def test_one_agent_cannot_keep_the_others_out() -> None:
    table = WaitingHandshakes()
    for number in range(WAITING_PER_AGENT_MAX):
        table.keep(number.to_bytes(16, "big"), waiting("one"), 0)
    refused = waiting("one")
    assert refusal(lambda: table.keep(b"\xff" * 16, refused, 0)) is ErrorCode.SESSION_LIMIT
    assert refused.keys.digest.wiped
    table.keep(b"\xff" * 16, waiting("other"), 0)


def test_the_table_is_bounded_and_empties_itself() -> None:
    table = WaitingHandshakes()
    held = [waiting(f"agent-{number}") for number in range(WAITING_MAX)]
    for number, handshake in enumerate(held):
        table.keep(number.to_bytes(16, "big"), handshake, 0)
    assert refusal(lambda: table.keep(b"\xff" * 16, waiting("more"), 999)) is ErrorCode.SESSION_LIMIT
    table.keep(b"\xff" * 16, waiting("more"), 1_000)
    assert len(table) == 1
    assert all(handshake.keys.agent_to_enclave.secret.wiped for handshake in held)


def test_the_same_id_again_replaces_and_wipes() -> None:
    table = WaitingHandshakes()
    first, second = waiting("one"), waiting("one")
    table.keep(bytes(16), first, 0)
    table.keep(bytes(16), second, 0)
    assert first.keys.digest.wiped
    assert refusal(lambda: table.take(bytes(16), first)) is ErrorCode.SESSION_UNKNOWN
    table.take(bytes(16), second)
    assert not second.keys.digest.wiped
    assert refusal(lambda: table.take(bytes(16), second)) is ErrorCode.SESSION_UNKNOWN


def test_boot_keys_are_apart_per_boot() -> None:
    """F9: a document of another key, or of an earlier boot, opens nothing here."""
    keys = BootKeys.generate(MANIFEST)
    assert keys.statement.receipt_key != keys.statement.hpke_keys[HpkeSuite.X25519].encoded
