"""Show who the enclave is: a fresh document for every nonce, committing to the identity statement of this boot.

The document's ``public_key`` is the receipt key (P-384): never absent, never RSA, so nothing that the parent is shown
can serve as a recipient at KMS.
"""

from typing import Final

from enclave.clock import OwnClock
from enclave.counters import Counter, Counters
from pcrgate.envelope.session_enclave import EnclaveHandshake
from pcrgate.envelope.session_identity import BootKeys
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.wire.messages import EvidenceAnswer, EvidenceRequest


class Identity:
    """Answer nonces; threads may share it. Nothing is cached."""

    def __init__(
        self, nsm: NsmClient, boot: BootKeys, handshake: EnclaveHandshake, clock: OwnClock, counters: Counters
    ) -> None:
        """Take what a document is made of.

        Args:
            nsm: makes the documents.
            boot: the keys of this boot.
            handshake: learns each nonce, for which one hello may follow.
            clock: learns each document's time.
            counters: what is counted.
        """
        self._nsm: Final = nsm
        self._handshake: Final = handshake
        self._clock: Final = clock
        self._counters: Final = counters
        self._public_key: Final = boot.statement.receipt_key
        self._statement: Final = boot.statement.encode()
        self._user_data: Final = boot.statement.digest.digest

    def evidence(self, request: EvidenceRequest) -> EvidenceAnswer:
        """Return a document made for this nonce now.

        Raises:
            NsmError: when none could be made, or the module's time went back.
        """
        own = self._nsm.attestation(public_key=self._public_key, user_data=self._user_data, nonce=request.nonce)
        self._clock.observe(own.evidence.timestamp_ms)
        self._counters.add(Counter.DOCUMENTS)
        self._handshake.attested(request.nonce, now_ms=self._clock.now_ms())
        return EvidenceAnswer(document=own.document, identity=self._statement)
