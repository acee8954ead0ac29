"""Make an ordinary botocore KMS client attested: hooks on its events, one pending state a call.

The state of a call travels in botocore's own request context, from the parameters to the parsed answer, so answers
cannot be mixed up between calls however they interleave. botocore repeats a call's very request on a retry, with a new
signature; the recipient key is the call's and opens once.
"""

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.hooks import BaseEventHooks
from botocore.model import OperationModel

from pcrgate.envelope.recipient import RecipientKey
from pcrgate.errors import ErrorCode, ReleaseError
from pcrgate.kms.answers import ExpectedAnswer, answer_refused, open_answer, requested_length
from pcrgate.kms.commitment import request_commitment, wire_commitment
from pcrgate.kms.configuration import AttestedKmsConfiguration
from pcrgate.kms.expectation import find_expectation
from pcrgate.kms.key_pool import RecipientKeys
from pcrgate.kms.nsm_messages import NsmClient, OwnDocument, RequestedDocument
from pcrgate.kms.operations import (
    KEY_ENCRYPTION_ALGORITHM,
    READ_ONLY_OPERATIONS,
    RECIPIENT_OPERATIONS,
    RecipientOperation,
)

DOCUMENT_NONCE_BYTES: Final = 32
"""Length of the fresh nonce in each document."""

VERIFIERS: Final = 2
"""Threads that verify own documents: one takes half a millisecond, a call many."""

_PENDING: Final = "pcrgate_pending"
_TARGET_PREFIX: Final = "TrentService."
_HTTP_OK: Final = 200
_HTTP_ERROR: Final = 300


class HttpSender(Protocol):
    """Send one prepared request, as botocore's HTTP session does."""

    def send(self, request: AWSPreparedRequest) -> AWSResponse:
        """Return the response; raise botocore's HTTP errors."""
        ...


@dataclass(slots=True, kw_only=True)
class _Pending:
    """Hold the state of one call: what was asked, under which document, with which key."""

    operation: str
    commitment: bytes
    key_id: str | None
    requested: RequestedDocument | None = None
    verification: Future[OwnDocument] | None = None
    expected: ExpectedAnswer | None = None
    key: RecipientKey | None = field(default=None, repr=False)

    @property
    def document(self) -> bytes | None:
        return None if self.requested is None else self.requested.document

    def erase(self) -> None:
        if self.key is not None:
            self.key.erase()


class AttestedHooks:
    """Add recipient, gate and checks to the events of one client."""

    def __init__(
        self, configuration: AttestedKmsConfiguration, nsm: NsmClient, keys: RecipientKeys, sender: HttpSender
    ) -> None:
        """Take what the hooks need.

        Args:
            configuration: pinned keys and expectations.
            nsm: makes the documents.
            keys: gives a fresh key for each call.
            sender: carries requests to KMS.
        """
        self._configuration = configuration
        self._pinned = frozenset(str(key) for key in configuration.pinned_keys)
        self._nsm = nsm
        self._keys = keys
        self._sender = sender
        self._verifier = ThreadPoolExecutor(VERIFIERS, "own-document")

    def register(self, events: BaseEventHooks) -> None:
        """Register every hook; ``before-send`` takes the place of botocore's own sending."""
        handlers: tuple[tuple[str, Any], ...] = (
            ("provide-client-params.kms", self.provide_recipient),
            ("before-send.kms", self.send_what_was_attested),
            ("after-call.kms", self.open_answer),
            ("after-call-error.kms", self.forget),
        )
        for event, handler in handlers:
            events.register_first(event, handler)

    def provide_recipient(
        self, params: dict[str, Any], model: OperationModel, context: dict[str, Any], **_: object
    ) -> dict[str, Any]:
        """Return the parameters with a recipient made for them, or refuse the call.

        Raises:
            ReleaseError: ``kms-operation``, ``kms-request``, ``kms-key-not-pinned`` or ``kms-context``.
            NsmError: when no document could be made.
        """
        if context.get("is_presign_request"):
            raise ReleaseError(ErrorCode.KMS_OPERATION, "a request was to be presigned, expected it to be sent")
        if model.name in READ_ONLY_OPERATIONS:
            key_id = self._require_pinned(model.name, params)
            context[_PENDING] = _Pending(
                operation=model.name, commitment=request_commitment(model.name, params), key_id=key_id
            )
            return params
        operation = RECIPIENT_OPERATIONS.get(model.name)
        if operation is None:
            raise ReleaseError(ErrorCode.KMS_OPERATION, f"{model.name} was called, expected one that takes a recipient")
        pending = self._attest(operation, params)
        context[_PENDING] = pending
        return {
            **params,
            "Recipient": {
                "KeyEncryptionAlgorithm": KEY_ENCRYPTION_ALGORITHM,
                "AttestationDocument": pending.document,
            },
        }

    def _require_pinned(self, operation: str, params: Mapping[str, object]) -> str:
        key_id = params.get("KeyId")
        if type(key_id) is not str or key_id not in self._pinned:
            raise ReleaseError(
                ErrorCode.KMS_KEY_NOT_PINNED, f"{operation} names no pinned key, expected the full ARN of one"
            )
        return key_id

    def _attest(self, operation: RecipientOperation, params: dict[str, Any]) -> _Pending:
        """Return the state of a call after every check that needs no KMS, with its document."""
        # 1. Exactly the parameters that this operation may carry.
        key_id = self._require_pinned(operation.name, params) if operation.takes_key else None
        if not operation.required <= params.keys() <= operation.required | operation.optional:
            raise ReleaseError(
                ErrorCode.KMS_REQUEST, f"{operation.name} carries other parameters than {sorted(operation.required)}"
            )
        if any(params.get(name, value) != value for name, value in operation.fixed.items()):
            raise ReleaseError(ErrorCode.KMS_REQUEST, f"{operation.name} names another algorithm than it may")
        # 2. A release that was expected: key, context, blob.
        expectation = (
            find_expectation(self._configuration.expectations, operation.name, params) if operation.takes_key else None
        )
        expected = ExpectedAnswer(
            operation=operation,
            key_id=key_id,
            plaintext_bytes=requested_length(
                operation, params, expectation.plaintext_bytes if expectation is not None else None
            ),
        )
        # 3. A fresh key, and a fresh document that commits to this very request.
        commitment = request_commitment(operation.name, params)
        key = self._keys.take()
        try:
            requested = self._nsm.request_document(
                public_key=key.spki_der, user_data=commitment, nonce=os.urandom(DOCUMENT_NONCE_BYTES)
            )
        except BaseException:
            key.erase()
            raise
        return _Pending(
            operation=operation.name,
            commitment=commitment,
            key_id=key_id,
            requested=requested,
            expected=expected,
            key=key,
        )

    def send_what_was_attested(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Send a request, after reading back from its bytes that it is the one the document was made for.

        Raises:
            ReleaseError: ``kms-request`` or ``kms-endpoint`` when it is not.
        """
        pending = (getattr(request, "context", None) or {}).get(_PENDING)
        if not isinstance(pending, _Pending):
            raise ReleaseError(ErrorCode.KMS_OPERATION, "a request without a document was to be sent, expected none")
        target = request.headers.get("X-Amz-Target")
        if target not in (_TARGET_PREFIX + pending.operation, (_TARGET_PREFIX + pending.operation).encode()):
            raise ReleaseError(ErrorCode.KMS_OPERATION, "the request is for another operation than its document")
        if request.method != "POST" or request.url != self._configuration.endpoint_url + "/":
            raise ReleaseError(ErrorCode.KMS_ENDPOINT, "the request is for another endpoint than the pinned keys'")
        body = request.body if isinstance(request.body, bytes) else b""
        if wire_commitment(pending.operation, body) != (pending.commitment, pending.document):
            raise ReleaseError(ErrorCode.KMS_REQUEST, "the request is another than its document commits to")
        # The signature of the own document is verified while KMS works; nothing that KMS answers is used before.
        if pending.requested is not None and pending.verification is None:
            pending.verification = self._verifier.submit(self._nsm.verify_document, pending.requested)
        return self._sender.send(request)

    def open_answer(
        self, http_response: AWSResponse, parsed: dict[str, Any], context: dict[str, Any], **_: object
    ) -> None:
        """Put the opened plaintext where callers look for it, after every check; leave errors of KMS to botocore.

        Raises:
            ReleaseError: ``kms-response``, one message for everything.
            NsmError: ``nsm-document`` when the own document turned out not to verify.
        """
        pending = context.pop(_PENDING, None)
        if not isinstance(pending, _Pending):
            raise answer_refused()
        try:
            if http_response.status_code >= _HTTP_ERROR:
                return
            if http_response.status_code != _HTTP_OK:
                raise answer_refused()
            if pending.expected is None or pending.key is None:
                _check_described(parsed, pending.key_id)
                return
            if pending.verification is None:
                raise answer_refused()
            pending.verification.result()
            with open_answer(parsed, pending.expected, pending.key) as plaintext:
                parsed[pending.expected.operation.plaintext_field] = plaintext.reveal()
            del parsed["CiphertextForRecipient"]
        finally:
            pending.erase()

    def forget(self, context: dict[str, Any], **_: object) -> None:
        """Erase the key of a call that failed before it had an answer."""
        pending = context.pop(_PENDING, None)
        if isinstance(pending, _Pending):
            pending.erase()


def _check_described(parsed: Mapping[str, Any], key_id: str | None) -> None:
    """Refuse a description of another key than the one asked for."""
    metadata = parsed.get("KeyMetadata")
    if metadata is not None and metadata.get("Arn") != key_id:
        raise answer_refused()
