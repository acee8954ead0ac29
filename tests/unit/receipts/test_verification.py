"""Receipts verify against their own boot, chain without gaps, and show what was withheld."""

import threading

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.attestation.cose import P384_ORDER
from pcrgate.envelope.session_identity import BootKeys
from pcrgate.errors import ErrorCode, ReceiptError
from pcrgate.receipts.claims import Decision
from pcrgate.receipts.envelope import PROTECTED, RECEIPT_MAX_BYTES, parse_receipt, sign_receipt
from pcrgate.receipts.signer import ReceiptSigner
from pcrgate.receipts.verification import VerifiedReceipt, find_gaps, match_receipt, verify_chain, verify_receipt
from pcrgate.units import Sha384
from tests.unit.attestation.documents import NOW_MS
from tests.unit.envelope.session_stage import MANIFEST, appraised, refusal
from tests.unit.receipts.receipt_stage import SESSION, Book, event, sha384


def test_a_receipt_verifies_against_its_own_boot() -> None:
    book = Book()
    issued = book.issue()
    verified = verify_receipt(issued.receipt, book.identity)
    observed = verified.claims.observed
    assert verified.digest == issued.digest == sha384(issued.receipt)
    assert (observed.sequence, observed.previous) == (1, book.identity.digest)
    assert observed.issued_s == NOW_MS // 1000
    assert verified.claims.attested.manifest_digest == MANIFEST


def test_it_is_a_cose_sign1_that_other_software_reads() -> None:
    book = Book()
    tag = cbor2.loads(book.issue().receipt)
    protected, unprotected, payload, signature = tag.value
    assert (tag.tag, unprotected) == (18, {})
    assert cbor2.loads(protected) == {1: -35, 16: "application/eat+cwt"}
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    r, s = int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")
    book.identity.receipt_key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA384()))


def test_every_flipped_byte_is_refused() -> None:
    book = Book()
    receipt = book.issue().receipt
    for at in range(len(receipt)):
        for bit in (1, 0x80):
            changed = receipt[:at] + bytes((receipt[at] ^ bit,)) + receipt[at + 1 :]
            assert refusal(lambda changed=changed: verify_receipt(changed, book.identity)) is not None


def test_the_receipt_of_another_key_is_refused() -> None:
    """H16: signed by the parent or an agent, with every field right."""
    book = Book()
    payload = parse_receipt(book.issue().receipt).payload
    forged = sign_receipt(payload, ec.generate_private_key(ec.SECP384R1()))
    assert refusal(lambda: verify_receipt(forged, book.identity)) is ErrorCode.RECEIPT_SIGNATURE


def test_a_receipt_that_names_another_boot_is_refused_though_the_key_signed_it() -> None:
    book = Book()
    statement = book.keys.statement
    for boot_id, manifest in ((bytes(32), MANIFEST), (statement.boot_id, Sha384(bytes(48)))):
        keys = BootKeys.hold(book.keys.receipt_key, book.keys.hpke_keys, boot_id, manifest)
        receipt = ReceiptSigner(keys).issue(event(), now_ms=NOW_MS).receipt
        assert refusal(lambda receipt=receipt: verify_receipt(receipt, book.identity)) is ErrorCode.RECEIPT_IDENTITY
        assert verify_receipt(receipt, appraised(keys)).claims.attested.boot_id == boot_id


def parts_of(receipt: bytes) -> list[CborValue]:
    parts = decode(receipt[1:])
    assert isinstance(parts, list)
    return parts


def test_the_other_s_is_refused() -> None:
    book = Book()
    *rest, signature = parts_of(book.issue().receipt)
    assert isinstance(signature, bytes)
    s = int.from_bytes(signature[48:], "big")
    assert s <= P384_ORDER // 2
    high = b"\xd2" + encode([*rest, signature[:48] + (P384_ORDER - s).to_bytes(48, "big")])
    assert refusal(lambda: verify_receipt(high, book.identity)) is ErrorCode.RECEIPT_FORM


@pytest.mark.parametrize(
    "change",
    [
        {0: b"\xa1\x01\x38\x22"},
        {0: b""},
        {0: cbor2.dumps({1: -7, 16: "application/eat+cwt"})},
        {1: {4: b"kid"}},
        {1: b""},
        {2: "payload"},
        {3: bytes(95)},
        {3: bytes(96)},
        {3: "x"},
        {3: b"\xff" * 96},
        {3: bytes(47) + b"\1" + bytes(48)},
    ],
)
def test_other_envelopes_are_refused(change: dict[int, CborValue]) -> None:
    book = Book()
    parts = parts_of(book.issue().receipt)
    for at, value in change.items():
        parts[at] = value
    assert refusal(lambda: verify_receipt(b"\xd2" + encode(parts), book.identity)) is ErrorCode.RECEIPT_FORM


def test_other_forms_are_refused() -> None:
    book = Book()
    receipt = book.issue().receipt
    for other in (b"", receipt[1:], b"\xd8\x3d" + receipt, b"\xd2\x80", b"\xd2\xa0", receipt + b"\0", b"\xd2"):
        assert refusal(lambda other=other: verify_receipt(other, book.identity)) is ErrorCode.RECEIPT_FORM


def test_the_length_of_a_receipt() -> None:
    def of(length: int) -> bytes:
        return b"\xd2" + encode([PROTECTED, {}, bytes(length), bytes(95) + b"\1"])

    room = RECEIPT_MAX_BYTES - len(of(10_000)) + 10_000
    for length, words in ((room, "r or s"), (room + 1, "at most")):
        with pytest.raises(ReceiptError, match=words):
            parse_receipt(of(length))


# --- about what -------------------------------------------------------------------------------------------------------


def match(receipt: VerifiedReceipt, **changes: object) -> Decision:
    values: dict[str, object] = {
        "request_digest": sha384(b"request"),
        "result_digest": sha384(b"result of request"),
        "session_id": SESSION,
        "agent_id": "agent-1",
        **changes,
    }
    return match_receipt(receipt, **values)  # type: ignore[arg-type]


def test_a_receipt_is_about_one_exchange() -> None:
    book = Book()
    verified = verify_receipt(book.issue().receipt, book.identity)
    assert match(verified) is Decision.ACCEPTED
    for changes in (
        {"request_digest": sha384(b"other")},
        {"result_digest": sha384(b"other")},
        {"result_digest": None},
        {"session_id": bytes(16)},
        {"agent_id": "agent-2"},
    ):
        assert refusal(lambda changes=changes: match(verified, **changes)) is ErrorCode.RECEIPT_MISMATCH


def test_refusals_get_receipts_too() -> None:
    book = Book()
    verified = verify_receipt(book.refuse().receipt, book.identity)
    assert match(verified, result_digest=None) is Decision.REFUSED
    assert verified.claims.observed.code == "session-hello"


def test_what_the_host_said_stays_under_its_label() -> None:
    """H18: the parent's fields come back as its claim, wherever it wants them."""
    from pcrgate.receipts.claims import HostClaimed

    book = Book()
    issued = book.issue(host_claimed=HostClaimed(request_id="trusted", received_ms=7))
    claims = verify_receipt(issued.receipt, book.identity).claims
    assert claims.host_claimed == HostClaimed(request_id="trusted", received_ms=7)
    assert not {field for field in vars(HostClaimed) if not field.startswith("_")} & set(
        type(claims.observed).__slots__
    )


# --- chain ------------------------------------------------------------------------------------------------------------


def test_a_chain_verifies_from_the_first() -> None:
    book = Book(4)
    assert [r.claims.observed.sequence for r in verify_chain(book.receipts, book.identity)] == [1, 2, 3, 4]
    assert verify_chain([], book.identity) == ()


def test_a_chain_goes_on_after_a_known_receipt() -> None:
    book = Book(4)
    known = verify_chain(book.receipts[:2], book.identity)[-1]
    assert len(verify_chain(book.receipts[2:], book.identity, after=known)) == 2
    assert refusal(lambda: verify_chain(book.receipts[3:], book.identity, after=known)) is ErrorCode.RECEIPT_GAP


def test_a_withheld_receipt_is_a_gap() -> None:
    """H17: whoever drops a refusal cannot close the chain over it."""
    book = Book(4)
    for missing in range(3):
        left = [receipt for at, receipt in enumerate(book.receipts) if at != missing]
        assert refusal(lambda left=left: verify_chain(left, book.identity)) is ErrorCode.RECEIPT_GAP


def test_repeated_and_reordered_receipts_are_refused() -> None:
    book = Book(3)
    first, second, third = book.receipts
    assert refusal(lambda: verify_chain([first, first], book.identity)) is ErrorCode.RECEIPT_CHAIN
    assert refusal(lambda: verify_chain([first, third, second], book.identity)) is ErrorCode.RECEIPT_GAP


def test_a_fork_of_the_same_boot_does_not_mix() -> None:
    book = Book(2)
    other = ReceiptSigner(book.keys)
    fork = [other.issue(event(f"fork {number}"), now_ms=NOW_MS).receipt for number in range(2)]
    assert len(verify_chain(fork, book.identity)) == 2
    assert refusal(lambda: verify_chain([fork[0], book.receipts[1]], book.identity)) is ErrorCode.RECEIPT_CHAIN
    mixed = [verify_receipt(receipt, book.identity) for receipt in (fork[0], book.receipts[1])]
    assert refusal(lambda: find_gaps(mixed)) is ErrorCode.RECEIPT_CHAIN
    twice = [verify_receipt(receipt, book.identity) for receipt in (fork[0], book.receipts[0])]
    assert refusal(lambda: find_gaps(twice)) is ErrorCode.RECEIPT_CHAIN


def test_time_does_not_go_back() -> None:
    book = Book()
    book.issued = [book.issue(now_ms=NOW_MS), book.issue(now_ms=NOW_MS - 60_000)]
    times = [r.claims.observed.issued_s for r in verify_chain(book.receipts, book.identity)]
    assert times == [NOW_MS // 1000] * 2
    signer = ReceiptSigner(book.keys)
    first = signer.issue(event(), now_ms=NOW_MS)
    signer._issued_s = 0
    second = signer.issue(event(), now_ms=NOW_MS - 1_000)
    code = refusal(lambda: verify_chain([first.receipt, second.receipt], book.identity))
    assert code is ErrorCode.RECEIPT_CHAIN


def test_gaps_are_found_in_any_order() -> None:
    book = Book(7)
    verified = verify_chain(book.receipts, book.identity)
    assert find_gaps(()) == ()
    assert find_gaps(verified) == ()
    assert find_gaps([verified[6], verified[1], verified[2], verified[1]]) == (range(1, 2), range(4, 7))


def test_receipts_of_two_boots_have_no_common_gaps() -> None:
    books = [Book(1), Book(1)]
    mixed = [verify_receipt(book.receipts[0], book.identity) for book in books]
    assert refusal(lambda: find_gaps(mixed)) is ErrorCode.RECEIPT_IDENTITY


def test_a_receipt_that_cannot_be_meant_uses_no_number() -> None:
    book = Book()
    assert refusal(lambda: book.issue(code="x")) is ErrorCode.USAGE_RECEIPT
    assert book.issue().sequence == 1


def test_threads_share_one_chain() -> None:
    book = Book()
    threads = [threading.Thread(target=lambda: book.issued.extend([book.issue() for _ in range(10)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordered = sorted(book.issued, key=lambda issued: issued.sequence)
    assert len(verify_chain([issued.receipt for issued in ordered], book.identity)) == 40


def test_receipts_are_small() -> None:
    assert len(Book().issue().receipt) < 800
