"""The NSM client on arbitrary answers: a typed refusal, never another exception."""

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pcrgate.attestation.anchors import Roots
from pcrgate.errors import NsmError
from pcrgate.kms.nsm_messages import NsmClient

ROOTS = Roots.pinned(bytes(32))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=60) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["Attestation", "DescribeNSM", "GetRandom", "Error", "LockPCR"])


class FixedNsm:
    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def request(self, data: bytes) -> bytes:
        assert data
        return self.answer


@settings(max_examples=300, deadline=None)
@given(answer=st.binary(max_size=200) | st.dictionaries(NAMES, VALUES, max_size=2).map(cbor2.dumps))
@example(answer=b"")
def test_every_answer_but_the_right_one_is_a_typed_refusal(answer: bytes) -> None:
    client = NsmClient(FixedNsm(answer), roots=ROOTS)
    for action in (client.describe, lambda: client.attestation(nonce=bytes(16))):
        with pytest.raises(NsmError):
            action()
