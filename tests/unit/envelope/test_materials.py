"""Secrets stay where they are: hidden, uncopied, wiped."""

import copy
import pickle

import pytest

from pcrgate.envelope.materials import SecretBytes
from pcrgate.errors import ErrorCode, ReleaseError


def test_no_text_form_shows_the_secret() -> None:
    secret = SecretBytes(b"canary-7f3a")
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret):  # noqa: UP031
        assert "canary" not in text
        assert b"canary-7f3a".hex() not in text


def test_it_is_not_pickled_or_copied() -> None:
    secret = SecretBytes(b"canary")
    for attempt in (lambda: pickle.dumps(secret), lambda: copy.copy(secret), lambda: copy.deepcopy(secret)):
        with pytest.raises(TypeError, match="cannot be pickled"):
            attempt()


def test_wiping_reaches_the_buffer_taken_over() -> None:
    buffer = bytearray(b"canary")
    secret = SecretBytes(buffer)
    assert secret.reveal() == b"canary"
    secret.wipe()
    assert buffer == bytes(6)
    assert secret.wiped
    assert len(secret) == 6


def test_bytes_are_copied() -> None:
    assert SecretBytes(b"canary").reveal() == b"canary"
    assert SecretBytes(memoryview(b"canary")).reveal() == b"canary"


def test_the_view_is_read_only_and_not_a_copy() -> None:
    buffer = bytearray(b"canary")
    secret = SecretBytes(buffer)
    with secret.view() as view:
        assert view.readonly
        buffer[0:1] = b"C"
        assert bytes(view) == b"Canary"


def test_after_wiping_nothing_is_given_out() -> None:
    secret = SecretBytes(b"canary")
    with secret as same:
        assert same is secret
        assert not secret.wiped
    secret.wipe()
    for attempt in (secret.reveal, secret.view):
        with pytest.raises(ReleaseError) as caught:
            attempt()
        assert caught.value.code is ErrorCode.SECRET_WIPED


def test_equality_is_between_live_secrets_only() -> None:
    first, second, other = SecretBytes(b"canary"), SecretBytes(b"canary"), SecretBytes(b"parrot")
    assert first == second
    assert first != other
    assert first != b"canary"
    assert first.__eq__(b"canary") is NotImplemented
    second.wipe()
    assert first != second
    assert second != first


def test_it_has_no_hash() -> None:
    with pytest.raises(TypeError):
        hash(SecretBytes(b"canary"))
