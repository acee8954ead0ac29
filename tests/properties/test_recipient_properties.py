"""The CMS reader on arbitrary bytes: one error or the right plaintext, never anything else."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pcrgate.envelope.recipient import RecipientKey, open_ciphertext_for_recipient
from pcrgate.envelope.recipient_ber import parse_envelope
from pcrgate.errors import ErrorCode, ReleaseError
from tests.unit.envelope.envelope_writer import Parts, chunked, definite, primitive

PRIVATE_KEY = rsa.generate_private_key(65537, 2048)
VALID = Parts(public_key=PRIVATE_KEY.public_key()).write()


@settings(max_examples=40, deadline=None)
@given(plaintext=st.binary(max_size=4111), form=st.sampled_from(["chunked", "primitive"]))
def test_what_is_written_is_read(plaintext: bytes, form: str) -> None:
    blob = Parts(public_key=PRIVATE_KEY.public_key(), plaintext=plaintext, form=form).write()
    opened = open_ciphertext_for_recipient(blob, RecipientKey(PRIVATE_KEY), expected_length_bytes=len(plaintext))
    assert opened.reveal() == plaintext


@settings(max_examples=300, deadline=None)
@given(blob=st.binary(max_size=600))
def test_arbitrary_bytes_are_refused_with_the_one_error(blob: bytes) -> None:
    with pytest.raises(ReleaseError) as caught:
        parse_envelope(blob, modulus_bytes=256)
    assert caught.value.code is ErrorCode.RECIPIENT_ENVELOPE


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(VALID) - 1), removed=st.integers(0, 40), inserted=st.binary(max_size=40))
def test_edited_envelopes_parse_to_their_very_bytes_or_are_refused(at: int, removed: int, inserted: bytes) -> None:
    edited = VALID[:at] + inserted + VALID[at + removed :]
    try:
        envelope = parse_envelope(edited, modulus_bytes=256)
    except ReleaseError as error:
        event(error.code.code)
        return
    # Nothing was skipped: the fields written again in one of the two forms give the same bytes (or fewer, when the edit
    # split the content into several chunks).
    again = [
        Parts(
            public_key=PRIVATE_KEY.public_key(),
            rid=definite(0x80, envelope.rid),
            encrypted_key=definite(0x04, envelope.encrypted_key),
            iv=envelope.iv,
            content=form(envelope.ciphertext),
        ).write()
        for form in (chunked, primitive)
    ]
    assert edited in again or len(edited) > len(again[0])
