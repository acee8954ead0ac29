"""Name every place where session bytes are hashed, signed, sealed or derived: one label each, none twice.

The labels are data of the protocol: docs/protocol.md lists the same strings, and a test compares the two.
"""

from typing import Final

IDENTITY: Final = b"pcrgate/identity/v1"
HELLO: Final = b"pcrgate/hello/v1"
HELLO_INFO: Final = b"pcrgate/hello-info/v1"
HELLO_BODY: Final = b"pcrgate/hello-body/v1"
HELLO_SIGNATURE: Final = b"pcrgate/hello-signature/v1"
TRANSCRIPT: Final = b"pcrgate/transcript/v1"
RESPONSE: Final = b"pcrgate/response/v1"
RESPONSE_INFO: Final = b"pcrgate/response-info/v1"
RESPONSE_SIGNATURE: Final = b"pcrgate/response-signature/v1"
KEY_COMMITMENT: Final = b"pcrgate/key-commitment/v1"
KEY_AGENT_TO_ENCLAVE: Final = b"pcrgate/key-agent-to-enclave/v1"
KEY_ENCLAVE_TO_AGENT: Final = b"pcrgate/key-enclave-to-agent/v1"
KEY_DIGEST: Final = b"pcrgate/key-digest/v1"
CONFIRMATION: Final = b"pcrgate/confirmation/v1"
TICKET: Final = b"pcrgate/ticket/v1"
RECORD: Final = b"pcrgate/record/v1"
CONTENT: Final = b"pcrgate/content/v1"
