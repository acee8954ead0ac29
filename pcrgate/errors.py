"""The error family: every refusal has one stable code, the same string wherever it appears.

The code is what the exception, a vector's ``expect``, a REST problem ``type``, a log field and ``docs/errors.md``
carry. A message states the fact, then the expectation, and holds public values only.
"""

from enum import Enum
from typing import Final


class Category(Enum):
    """Name the step that refused."""

    MALFORMED = "malformed"
    UNTRUSTED = "untrusted"
    FORGED = "forged"
    STALE = "stale"
    POLICY = "policy"
    KEY_POLICY = "key-policy"
    RELEASE = "release"
    MANIFEST = "manifest"
    DEVICE = "device"
    SESSION = "session"
    RECEIPT = "receipt"
    SERVICE = "service"
    CLIENT = "client"
    USAGE = "usage"
    INTERNAL = "internal"


class ErrorCode(Enum):
    """List every code: its text, the category, what it means, and what to do about it.

    Attributes:
        code: the stable string, lower-case words joined by hyphens.
        category: the step that refuses with it.
        meaning: one sentence of what was found.
        advice: one sentence of what to do next.
    """

    code: str
    category: Category
    meaning: str
    advice: str

    def __init__(self, code: str, category: Category, meaning: str, advice: str) -> None:
        self.code = code
        self.category = category
        self.meaning = meaning
        self.advice = advice

    # fmt: off
    # ruff: noqa: E501
    # --- evidence: encoding ---------------------------------------------------------------------------------------
    INPUT_TOO_LARGE = ("input-too-large", Category.MALFORMED, "The input is longer than the limit for its kind.", "Check that the file is what you think it is; the limit is in the message.")
    INPUT_EMPTY = ("input-empty", Category.MALFORMED, "The input holds no bytes.", "Check the file or the pipe that feeds it.")
    INPUT_ENCODING = ("input-encoding", Category.MALFORMED, "The text is neither strict base64 nor strict hex.", "Pass the raw bytes, or encode them without foreign characters and with right padding.")
    CBOR_TRUNCATED = ("cbor-truncated", Category.MALFORMED, "The CBOR item ends before its declared length.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_TRAILING_BYTES = ("cbor-trailing-bytes", Category.MALFORMED, "Bytes follow the CBOR item.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_NOT_SHORTEST = ("cbor-not-shortest", Category.MALFORMED, "An integer or length is not in its shortest form.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_RESERVED = ("cbor-reserved", Category.MALFORMED, "The additional information is reserved (28 to 30).", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_INDEFINITE_STRING = ("cbor-indefinite-string", Category.MALFORMED, "A byte or text string has indefinite length.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_BREAK = ("cbor-break", Category.MALFORMED, "A break marker stands where none may, or a map ends between key and value.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_TYPE = ("cbor-type", Category.MALFORMED, "A CBOR type that has no place here: tag, float, undefined, simple value or nested container.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_DEPTH = ("cbor-depth", Category.MALFORMED, "Containers are nested deeper than the limit.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_DUPLICATE_KEY = ("cbor-duplicate-key", Category.MALFORMED, "A map holds the same key twice.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_KEY_TYPE = ("cbor-key-type", Category.MALFORMED, "A map key is not of the type the specification gives.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_UTF8 = ("cbor-utf8", Category.MALFORMED, "A text string is not UTF-8.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CBOR_TOO_MANY_ITEMS = ("cbor-too-many-items", Category.MALFORMED, "A container holds more items than the limit.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    COSE_TAG = ("cose-tag", Category.MALFORMED, "The document is tagged with something other than one tag 18.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    COSE_STRUCTURE = ("cose-structure", Category.MALFORMED, "The document is not an array of four: protected, unprotected, payload, signature.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    COSE_PROTECTED = ("cose-protected", Category.MALFORMED, "The protected header is not exactly the map {1: -35} in a byte string.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    COSE_UNPROTECTED = ("cose-unprotected", Category.MALFORMED, "The unprotected header is not the empty map.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    COSE_PAYLOAD = ("cose-payload", Category.MALFORMED, "The payload is not a byte string of 1 to 16384 bytes.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    COSE_SIGNATURE = ("cose-signature", Category.MALFORMED, "The signature is not a byte string of 96 bytes with r and s in range.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    FIELD_MISSING = ("field-missing", Category.MALFORMED, "A required field is absent or null.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    FIELD_TYPE = ("field-type", Category.MALFORMED, "A field has another CBOR type than the specification gives.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    FIELD_LENGTH = ("field-length", Category.MALFORMED, "A field is shorter or longer than the specification allows.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    FIELD_UNKNOWN = ("field-unknown", Category.MALFORMED, "A field that the specification does not name, in strict mode.", "Appraise without strict mode to see it in the result.")
    MODULE_ID = ("module-id", Category.MALFORMED, "The module id is empty or not of the form INSTANCE-encHEX (or INSTANCE-tpmHEX).", "The sender's bytes are wrong or were changed on the way; get the document again.")
    DIGEST = ("digest", Category.MALFORMED, "The digest is not SHA384.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    TIMESTAMP = ("timestamp", Category.MALFORMED, "The timestamp is not a positive number of milliseconds before the year 10000.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    PCR_KIND = ("pcr-kind", Category.MALFORMED, "Both, or none, of pcrs and nitrotpm_pcrs are present.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    PCR_COUNT = ("pcr-count", Category.MALFORMED, "The PCR map holds no entry or more than 32.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    PCR_INDEX = ("pcr-index", Category.MALFORMED, "A PCR index is not an integer from 0 to 31 (0 to 23 for NitroTPM).", "The sender's bytes are wrong or were changed on the way; get the document again.")
    PCR_LENGTH = ("pcr-length", Category.MALFORMED, "A PCR value is not 48 bytes.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CABUNDLE = ("cabundle", Category.MALFORMED, "The certificate bundle is empty, too long, or not an array of byte strings of 1 to 1024 bytes.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    DER = ("der", Category.MALFORMED, "A certificate is not strict DER.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    ROOT_UNPINNED = ("root-unpinned", Category.UNTRUSTED, "The first certificate of the bundle is not a pinned root.", "Check the partition; a private root must be given explicitly by its fingerprint.")
    CERTIFICATE_VERSION = ("certificate-version", Category.UNTRUSTED, "A certificate is not X.509 version 3.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_ALGORITHM = ("certificate-algorithm", Category.UNTRUSTED, "A certificate is not signed with ecdsa-with-SHA384, or its two algorithm fields differ.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_KEY = ("certificate-key", Category.UNTRUSTED, "A certificate's key is not an uncompressed P-384 point on the curve.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_ISSUER = ("certificate-issuer", Category.UNTRUSTED, "A certificate's issuer is not the subject of the next one up.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_KEY_ID = ("certificate-key-id", Category.UNTRUSTED, "The authority key identifier is not the subject key identifier of the next one up.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_REPEATED = ("certificate-repeated", Category.UNTRUSTED, "The same certificate appears twice in the chain.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_CA = ("certificate-ca", Category.UNTRUSTED, "A certificate that signs another is not a CA, or its BasicConstraints are absent or not critical.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_PATH_LENGTH = ("certificate-path-length", Category.UNTRUSTED, "A path length constraint is exceeded, or set on the leaf.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_KEY_USAGE = ("certificate-key-usage", Category.UNTRUSTED, "A certificate's key usage does not allow what it is used for.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_LEAF_CA = ("certificate-leaf-ca", Category.UNTRUSTED, "The leaf is a CA, or lacks BasicConstraints.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_EXTENSION = ("certificate-extension", Category.UNTRUSTED, "A critical extension is unknown, or an extension stands twice.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_SIGNATURE = ("certificate-signature", Category.UNTRUSTED, "A certificate's signature is not its issuer's.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    CERTIFICATE_NOT_YET_VALID = ("certificate-not-yet-valid", Category.UNTRUSTED, "A certificate is not valid yet at the time of verification.", "Check the clock; use the recorded mode for a document from the past.")
    CERTIFICATE_EXPIRED = ("certificate-expired", Category.UNTRUSTED, "A certificate is no longer valid at the time of verification.", "Ask for a fresh document; use the recorded mode for one from the past.")
    CERTIFICATE_REVOKED = ("certificate-revoked", Category.UNTRUSTED, "A certificate is on the revocation set you gave.", "Do not trust the instance; see why it was revoked.")
    TIMESTAMP_OUTSIDE_CHAIN = ("timestamp-outside-chain", Category.UNTRUSTED, "The document's own time lies outside a certificate's validity.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    SIGNATURE_INVALID = ("signature-invalid", Category.FORGED, "The document's signature is not the leaf's over these bytes.", "Treat the document as forged.")
    EVIDENCE_TOO_OLD = ("evidence-too-old", Category.STALE, "The document is older than the allowed age.", "Ask for a fresh document, with a fresh nonce.")
    EVIDENCE_FROM_FUTURE = ("evidence-from-future", Category.STALE, "The document's time is ahead of the clock by more than the allowed skew.", "Check this machine's clock.")
    NONCE_REPLAYED = ("nonce-replayed", Category.STALE, "The nonce was seen before.", "Make a new nonce for each request.")
    KIND_MISMATCH = ("kind-mismatch", Category.POLICY, "The evidence is of the other kind: NitroTPM where an enclave is expected, or the reverse.", "Use the policy made for that kind.")
    PCR_MISMATCH = ("pcr-mismatch", Category.POLICY, "A PCR is not any of the expected values.", "Compare with the measurements of your build; the message names the PCR.")
    PCR_ABSENT = ("pcr-absent", Category.POLICY, "An expected PCR is not in the document.", "Lock the PCR before asking for the document, or do not expect it.")
    PCR_NOT_ZERO = ("pcr-not-zero", Category.POLICY, "A PCR that must be zero is not.", "Find out what extended it.")
    PCR_ZERO = ("pcr-zero", Category.POLICY, "A PCR that must not be zero is.", "For PCR8: sign the image.")
    DEBUG_EVIDENCE = ("debug-evidence", Category.POLICY, "PCR0, PCR1 or PCR2 is zero: the enclave runs in debug mode.", "Start the enclave without debug mode.")
    NONCE_MISMATCH = ("nonce-mismatch", Category.POLICY, "The nonce is not the expected one.", "The document answers another request; ask again.")
    USER_DATA_MISMATCH = ("user-data-mismatch", Category.POLICY, "The user data is not the expected one.", "The document speaks for something else.")
    PUBLIC_KEY_MISMATCH = ("public-key-mismatch", Category.POLICY, "The public key is not the expected one.", "The document speaks for another key.")
    FIELD_PRESENT = ("field-present", Category.POLICY, "A field that must be absent is present.", "Expect a value, or ignore the field explicitly.")
    RECIPIENT_KEY = ("recipient-key", Category.POLICY, "The public key is not an RSA SubjectPublicKeyInfo that KMS takes as recipient.", "Use RSA of 2048 bits or more with exponent 65537, as DER, without trailing bytes.")
    NAMES_MISMATCH = ("names-mismatch", Category.UNTRUSTED, "The certificate names do not agree with the module id and region.", "The sender's bytes are wrong or were changed on the way; get the document again.")
    REGION_MISMATCH = ("region-mismatch", Category.POLICY, "The region in the certificates is not an expected one.", "Compare with where the enclave should run.")
    INSTANCE_MISMATCH = ("instance-mismatch", Category.POLICY, "PCR4 is not the digest of the instance id in the module id.", "Treat the host as suspect.")
    REFERENCE_EXPIRED = ("reference-expired", Category.POLICY, "The only matching reference value has expired.", "Approve the measurement again, or move to the current one.")
    USAGE_HEX = ("usage-hex", Category.USAGE, "A value is not hex.", "Give an even number of hex digits without separators.")
    USAGE_DIGEST = ("usage-digest", Category.USAGE, "A SHA-384 value has another length than 48 bytes.", "Give 96 hex digits.")
    USAGE_PCR_INDEX = ("usage-pcr-index", Category.USAGE, "A PCR index is out of range.", "Give an index from 0 to 31.")
    USAGE_NONCE = ("usage-nonce", Category.USAGE, "A nonce is too short or too long.", "Give 16 to 1024 bytes.")
    USAGE_KEY_ARN = ("usage-key-arn", Category.USAGE, "Not a full key ARN.", "Give the ARN of the key itself; aliases and bare ids are refused.")
    USAGE_POLICY = ("usage-policy", Category.USAGE, "An appraisal policy that cannot be meant: no PCR0, or an all-zero expectation.", "The message names what is missing or cannot be; an enclave needs a PCR0, a NitroTPM PCR4, 7 and 12.")
    USAGE_TIME = ("usage-time", Category.USAGE, "A time or duration that cannot be meant.", "Give seconds, or an RFC 3339 time with its offset.")
    USAGE_NSM = ("usage-nsm", Category.USAGE, "A software NSM or development PKI that cannot be meant: its seed, module id, region or registers.", "The message says which value and what is expected.")
    USAGE_FILE = ("usage-file", Category.USAGE, "A file cannot be read or written.", "Check the path and its permissions.")
    # --- frame: the command line ------------------------------------------------------------------------------------
    USAGE_ARGUMENTS = ("usage-arguments", Category.USAGE, "The command line names an unknown group, command, option or value.", "See --help of the command.")
    USAGE_EXTRA = ("usage-extra", Category.USAGE, "The command needs a package that is not installed.", "Install the extra that the message names.")
    INTERNAL = ("internal", Category.INTERNAL, "An error that pcrgate did not foresee; nothing was accepted.", "Set PCRGATE_TRACEBACK=1, run it again, and report what it prints.")
    # --- release: NSM device, KMS answers, envelope, weights --------------------------------------------------------
    NSM_DEVICE_MISSING = ("nsm-device-missing", Category.DEVICE, "The NSM device cannot be opened.", "Run inside a Nitro Enclave or on a NitroTPM instance whose kernel has the nsm driver; locally, use the software NSM of pcrgate.twin.")
    NSM_DEVICE_FAILED = ("nsm-device-failed", Category.DEVICE, "The NSM driver failed to carry a request.", "Try again; if it stays, restart the enclave.")
    NSM_REQUEST = ("nsm-request", Category.DEVICE, "A request is longer than the NSM takes, or an argument is out of range.", "Keep public_key, user_data and nonce within 1024 bytes each.")
    NSM_RESPONSE = ("nsm-response", Category.DEVICE, "The NSM's answer is not of the specified form.", "Treat the device as broken; do not go on with its answers.")
    NSM_REFUSED = ("nsm-refused", Category.DEVICE, "The NSM refused a request; the message has its own error name.", "ReadOnlyIndex means the PCR is locked; InvalidIndex that it does not exist.")
    NSM_DOCUMENT = ("nsm-document", Category.DEVICE, "The document the NSM made is not what was asked for, or does not verify.", "Treat the device as broken; do not go on with its answers.")
    RECIPIENT_ENVELOPE = ("recipient-envelope", Category.RELEASE, "A ciphertext for recipient was refused; it is not said why.", "Ask KMS again; if it stays, somebody changes what KMS sends, or KMS changed its format.")
    SECRET_WIPED = ("secret-wiped", Category.RELEASE, "A secret was used after its end of life.", "Request the release again.")
    KMS_KEY_NOT_PINNED = ("kms-key-not-pinned", Category.RELEASE, "A request to KMS names no key, or one that is not pinned.", "Name the full ARN of a key in the measured configuration; aliases and bare ids are refused.")
    KMS_OPERATION = ("kms-operation", Category.RELEASE, "An operation that this client does not perform.", "Use an operation that takes a recipient, or one of the read-only ones that are allowed.")
    KMS_CONTEXT = ("kms-context", Category.RELEASE, "The encryption context is not one that was expected for the key.", "Take the context from the signed manifest.")
    KMS_REQUEST = ("kms-request", Category.RELEASE, "A request to KMS carries what the attested client must set itself, or lacks a length.", "Leave Recipient out; give NumberOfBytes or KeySpec.")
    KMS_RESPONSE = ("kms-response", Category.RELEASE, "An answer of KMS was refused; it is not said why.", "Check that the endpoint honours Recipient; nothing that came with the answer was used.")
    KMS_ENDPOINT = ("kms-endpoint", Category.RELEASE, "The configuration of the KMS client does not fit the pinned keys.", "Pin keys of one account and Region; let the endpoint be derived from them.")
    KMS_CREDENTIALS = ("kms-credentials", Category.RELEASE, "The credentials that came are not usable.", "Check the parent's instance role.")
    WEIGHTS_HEADER = ("weights-header", Category.RELEASE, "The header of sealed weights was refused.", "Seal again with the unsigned committing suite and frames of 4 KiB to 64 MiB.")
    WEIGHTS_FRAME = ("weights-frame", Category.RELEASE, "A frame of sealed weights is not what the header and the key say.", "The stored file was changed or damaged; upload it again.")
    WEIGHTS_TRUNCATED = ("weights-truncated", Category.RELEASE, "Sealed weights end too early.", "Upload the file again, or let the stream resume.")
    WEIGHTS_TRAILING = ("weights-trailing", Category.RELEASE, "Bytes follow the last frame of sealed weights.", "The stored file was changed or damaged; upload it again.")
    WEIGHTS_SIZE = ("weights-size", Category.RELEASE, "Weights are longer or shorter than the manifest says, or than the budget allows.", "Compare the file with the manifest.")
    WEIGHTS_DIGEST = ("weights-digest", Category.RELEASE, "A digest of the weights is not the one in the manifest.", "The stored file is not the one that was signed for.")
    WEIGHTS_SOURCE = ("weights-source", Category.RELEASE, "The source of sealed weights failed and could not be resumed.", "Check the parent and the store behind it.")
    MODEL_FILE = ("model-file", Category.RELEASE, "A model file was refused before it was loaded.", "Export the model again as safetensors or ONNX, without external data.")
    USAGE_KMS = ("usage-kms", Category.USAGE, "An expectation about a KMS request that cannot be meant.", "Name an operation that takes a recipient, the full key ARN, and the encryption context it is sealed under.")
    USAGE_RECIPIENT_KEY = ("usage-recipient-key", Category.USAGE, "A recipient key that cannot be used.", "Make a fresh RSA key of 2048, 3072 or 4096 bits for each call.")
    # --- key policies ------------------------------------------------------------------------------------------------
    POLICY_JSON = ("policy-json", Category.KEY_POLICY, "A policy document, grant list or key description is not strict JSON of the expected shape.", "Check the file; comments, trailing commas, NaN and a byte order mark are not JSON.")
    POLICY_DUPLICATE_KEY = ("policy-duplicate-key", Category.KEY_POLICY, "An element, operator or condition key is given twice in one object.", "Merge the two: which of them counts is decided differently by different readers.")
    POLICY_TOO_LARGE = ("policy-too-large", Category.KEY_POLICY, "A policy document is larger, deeper or has more statements than the limit.", "Shorten it; each measurement costs about 100 bytes in every statement that lists it.")
    POLICY_VERSION = ("policy-version", Category.KEY_POLICY, "The Version of a policy document is not one that AWS knows.", "Use 2012-10-17.")
    POLICY_ELEMENT = ("policy-element", Category.KEY_POLICY, "An element of a policy document is missing, unknown, empty or of the wrong shape.", "Compare with the policy grammar; the message names the element and its statement.")
    POLICY_OPERATOR = ("policy-operator", Category.KEY_POLICY, "A condition operator is unknown or cannot be combined so.", "Use an operator of the IAM policy language.")
    POLICY_VALUE = ("policy-value", Category.KEY_POLICY, "A condition value is not of the type that its operator compares.", "Give a number, a date, true or false, base64 or an address range, as the operator asks.")
    POLICY_PRINCIPAL = ("policy-principal", Category.KEY_POLICY, "A principal is missing, not allowed here, or not one that AWS accepts.", "Name full ARNs, twelve-digit accounts, services, or a lone asterisk.")
    POLICY_REQUEST = ("policy-request", Category.KEY_POLICY, "A request, grant or key description to be judged cannot be meant.", "Name the principal and the key by full ARN, and every context key once.")
    # --- key policies: templates, plans, roll-over ------------------------------------------------------------------
    POLICY_INPUT = ("policy-input", Category.KEY_POLICY, "An input of a policy template is unknown, of the wrong type or out of range.", "The message names the input and what is expected.")
    POLICY_INPUT_MISSING = ("policy-input-missing", Category.KEY_POLICY, "A required input of a policy template is absent or empty.", "Give at least one value; a policy without it would gate nothing.")
    POLICY_INPUT_PCR = ("policy-input-pcr", Category.KEY_POLICY, "A PCR value is short, malformed, upper case or all zero.", "Give the 96 lower-case hex digits that the image build printed, of an image that does not run in debug mode.")
    POLICY_INPUT_PRINCIPAL = ("policy-input-principal", Category.KEY_POLICY, "A principal is a wildcard, an account root, a session or not an IAM ARN.", "Name one role or user by its full ARN.")
    POLICY_INPUT_ACCOUNT = ("policy-input-account", Category.KEY_POLICY, "An account is malformed, or a principal is of an account that was not listed.", "List other accounts in workload_accounts if they are meant.")
    POLICY_INPUT_DUPLICATE = ("policy-input-duplicate", Category.KEY_POLICY, "A value stands twice, or one principal has two roles.", "List each value once, and give each role its own principal.")
    POLICY_INPUT_SIZE = ("policy-input-size", Category.KEY_POLICY, "The rendered policy is larger than AWS stores.", "Approve fewer measurements at a time; remove those that are drained.")
    POLICY_TEMPLATE = ("policy-template", Category.KEY_POLICY, "A template is unknown, or uses a form that Terraform and pcrgate would not expand alike.", "Use jsonencode(NAME), for and endfor only.")
    POLICY_SOURCE = ("policy-source", Category.KEY_POLICY, "A file is neither a policy, nor the answer of get-key-policy, nor a Terraform plan that holds key policies.", "Pass the policy's JSON, or the output of terraform show -json.")
    POLICY_SOURCE_UNKNOWN = ("policy-source-unknown", Category.KEY_POLICY, "A plan holds a key policy that is not known before it is applied.", "Build the policy from literal ARNs, so that it can be proven before it is applied.")
    ROLLOVER_DOCUMENT = ("rollover-document", Category.KEY_POLICY, "A roll-over document is not of the expected shape.", "The message names the field and what is expected.")
    ROLLOVER_TRANSITION = ("rollover-transition", Category.KEY_POLICY, "A measurement cannot go from its state to the one asked for.", "The message names the states that may follow.")
    ROLLOVER_NOT_READY = ("rollover-not-ready", Category.KEY_POLICY, "A step of a roll-over may not be taken yet.", "Wait or probe as the message says, then try again.")
    ROLLOVER_EXPIRED = ("rollover-expired", Category.KEY_POLICY, "A measurement has expired and can only be removed.", "Remove it; announce it again if it is still meant.")
    # --- measurements files --------------------------------------------------------------------------------------------
    MEASUREMENTS_FILE = ("measurements-file", Category.KEY_POLICY, "A measurements file is not of its form, or its measurements do not go together.", "The message names the measurement and what is expected.")
    MEASUREMENTS_SIGNATURE = ("measurements-signature", Category.KEY_POLICY, "The signature of a measurements file is not the expected publisher's over these bytes.", "Do not plan with the file: find out who changed it, or sign it again.")
    MEASUREMENTS_EXPIRED = ("measurements-expired", Category.KEY_POLICY, "A measurements file lists a measurement past its end.", "Remove the measurement, or give it a later end, and sign the file again.")
    MEASUREMENTS_KEY = ("measurements-key", Category.USAGE, "A file does not hold the Ed25519 key that is asked for.", "Give a PEM file: openssl genpkey -algorithm ed25519 makes the private key, openssl pkey -pubout the public one.")
    # --- manifest ---------------------------------------------------------------------------------------------------
    MANIFEST_SIZE = ("manifest-size", Category.MANIFEST, "A signed manifest is empty or longer than the limit.", "Check that the file is a signed manifest.")
    MANIFEST_ENVELOPE = ("manifest-envelope", Category.MANIFEST, "The bytes are not the COSE_Sign1 envelope of a release manifest.", "Check that the file is a signed manifest and not, say, its draft.")
    MANIFEST_SIGNER = ("manifest-signer", Category.MANIFEST, "The manifest names a publisher key that is not trusted.", "Give the key of the publisher who signed it, if that publisher is trusted.")
    MANIFEST_SIGNATURE = ("manifest-signature", Category.MANIFEST, "The signature of the manifest is not the publisher's over these bytes.", "The file was changed, or another key signed it; get it from the publisher again.")
    MANIFEST_ENCODING = ("manifest-encoding", Category.MANIFEST, "The payload of the manifest is not CBOR in its one canonical form.", "Sign it with pcrgate manifest sign.")
    MANIFEST_VERSION = ("manifest-version", Category.MANIFEST, "The manifest is of a version that this release does not read.", "Use the release of pcrgate that the manifest was made for.")
    MANIFEST_FIELD = ("manifest-field", Category.MANIFEST, "A field of the manifest is unknown, missing, of another type or out of range.", "The message names the field and what is expected.")
    MANIFEST_LIMIT = ("manifest-limit", Category.MANIFEST, "The manifest holds more entries, or longer ones, than the limit.", "Split the release, or shorten what the message names.")
    MANIFEST_DUPLICATE = ("manifest-duplicate", Category.MANIFEST, "Two entries of the manifest share what must be unique.", "Rename or remove one of the two.")
    MANIFEST_REFERENCE = ("manifest-reference", Category.MANIFEST, "An entry of the manifest names an agent that is not in it.", "Add the agent, or remove its grants.")
    MANIFEST_CONTEXT = ("manifest-context", Category.MANIFEST, "An encryption context does not say the class, name and epoch of its secret, or uses a reserved name.", "Seal with pcrgate seal, or with exactly these three in the context.")
    MANIFEST_KEY_CLASS = ("manifest-key-class", Category.MANIFEST, "One KMS key serves two classes of secrets.", "Use a key of its own for weights, credentials and sessions each.")
    MANIFEST_KEY_PINNED = ("manifest-key-pinned", Category.MANIFEST, "A KMS key of the manifest is not pinned, or has replicas and is not listed.", "Pin the key's full ARN; list a multi-Region key only when every replica's policy is proven.")
    MANIFEST_PUBLIC_KEY = ("manifest-public-key", Category.MANIFEST, "A public key is not an Ed25519 key that only its owner can sign for.", "Make the key with pcrgate manifest keygen.")
    MANIFEST_ROLLBACK = ("manifest-rollback", Category.MANIFEST, "The epoch of a manifest or of a secret goes back, or stands still while its content changed.", "Sign the next manifest with a greater epoch; never present an older one.")
    MANIFEST_EXPIRED = ("manifest-expired", Category.MANIFEST, "The manifest has expired.", "Sign a new manifest with a greater epoch.")
    MANIFEST_NOT_YET_VALID = ("manifest-not-yet-valid", Category.MANIFEST, "The manifest was issued later than now.", "Compare the clocks of publisher and verifier.")
    MANIFEST_NO_SECRET = ("manifest-no-secret", Category.MANIFEST, "The manifest gives this workload no such secret, or it has expired.", "Add the secret, or the workload to those that may have it.")
    MANIFEST_NO_GRANT = ("manifest-no-grant", Category.MANIFEST, "The manifest gives this agent no such grant, or it has expired.", "Add a grant for the agent and the workload.")
    MANIFEST_DRAFT = ("manifest-draft", Category.MANIFEST, "A manifest draft is not strict JSON of the expected shape.", "The message names the place; pcrgate manifest new makes a draft to start from.")
    SEAL_KMS = ("seal-kms", Category.RELEASE, "KMS did not wrap the data key that a secret was to be sealed with.", "Check the credentials, and that the role may kms:Encrypt under this key for a context of this class.")
    SEAL_SOURCE = ("seal-source", Category.RELEASE, "What is to be sealed is empty, or changed its length meanwhile.", "Seal a file that nobody writes to.")
    # --- wire, enclave, workloads -----------------------------------------------------------------------------------
    WIRE_FRAME = ("wire-frame", Category.MALFORMED, "A frame has another version, an unknown type, or is longer than its type allows.", "Check that both sides are of one release; the limits are in the message.")
    WIRE_MESSAGE = ("wire-message", Category.MALFORMED, "A message is not the one map of fields that its type has.", "Check that both sides are of one release.")
    WIRE_LINK = ("wire-link", Category.RELEASE, "The other side of a connection went away, or took longer than its deadline.", "Check that the other process runs; try again.")
    WIRE_BUSY = ("wire-busy", Category.RELEASE, "The enclave has as much to do, or as much in memory, as it may.", "Try again later, with fewer requests at once.")
    ENCLAVE_CONFIGURATION = ("enclave-configuration", Category.USAGE, "The measured configuration is not of the expected shape.", "The message names the field; build the image again.")
    ENCLAVE_ENVIRONMENT = ("enclave-environment", Category.USAGE, "The environment holds a variable that could change what runs.", "Start the enclave with the image's own environment; the message names the variable.")
    ENCLAVE_RANDOMNESS = ("enclave-randomness", Category.DEVICE, "The kernel's randomness does not come from the Nitro Secure Module.", "Use the kernel of the Nitro CLI, with the nsm driver.")
    ENCLAVE_CLOCK = ("enclave-clock", Category.DEVICE, "The module's time jumped against the enclave's own.", "Start the enclave again.")
    ENCLAVE_MANIFEST_LOCK = ("enclave-manifest-lock", Category.DEVICE, "PCR16 was extended before the manifest, or is not what the manifest makes of it.", "Start the enclave again; a new manifest needs a new boot.")
    ENCLAVE_RELEASE = ("enclave-release", Category.RELEASE, "KMS refused to release a secret, or could not be reached.", "Compare the key policy with the enclave's measurements; the message has the error that KMS named.")
    ENCLAVE_PHASE = ("enclave-phase", Category.POLICY, "The enclave is in a phase in which it does not answer this.", "Ask for its status; wait until it is live.")
    USAGE_RELAY_HOST = ("usage-relay-host", Category.USAGE, "The relay is to carry bytes to a host that is no KMS endpoint.", "Give kms.REGION.amazonaws.com, or its FIPS form.")
    USAGE_BLOB = ("usage-blob", Category.USAGE, "The parent's store has no sealed file of that digest.", "Put the file that was signed for into the store.")
    USAGE_CREDENTIALS = ("usage-credentials", Category.USAGE, "The parent has no AWS credentials to hand on.", "Attach the instance role.")
    AGENT_RATE = ("agent-rate", Category.POLICY, "An agent asks more often than the enclave carries out for one.", "Wait as the message says, then seal the request anew, or ask for new evidence and begin a new session.")
    WORKLOAD_UNKNOWN = ("workload-unknown", Category.POLICY, "No such workload in this enclave, or the secret is not meant for it.", "Compare the manifest with the workloads of the image.")
    WORKLOAD_REQUEST = ("workload-request", Category.MALFORMED, "The request to a workload is not of its form, or beyond its limits.", "The message names the field and what is expected.")
    WORKLOAD_SIGNATURE = ("workload-signature", Category.FORGED, "An action is not signed by the key of the agent whose session it came in.", "Sign the action with the grant key that the manifest names.")
    WORKLOAD_STALE = ("workload-stale", Category.STALE, "An action has expired, or is meant for longer than allowed.", "Sign a new action with a fresh nonce.")
    WORKLOAD_ARGUMENT = ("workload-argument", Category.POLICY, "An argument or purpose of an action is not one that grant and rules admit.", "The message names the argument; compare with the manifest.")
    WORKLOAD_LIMIT = ("workload-limit", Category.POLICY, "A use count or a total of this boot is reached.", "Wait for the next release, or have the publisher raise the limit.")
    WORKLOAD_REPLAYED = ("workload-replayed", Category.STALE, "A request comes under a nonce that another request has used.", "Make a new nonce for each action.")
    WORKLOAD_FAILED = ("workload-failed", Category.INTERNAL, "A workload ended in an error of its own; others are not affected.", "The request was not carried out; its receipt says so.")
    # --- twin server ------------------------------------------------------------------------------------------------
    TWIN_SETTINGS = ("twin-settings", Category.USAGE, "Settings or a control request that the twin cannot mean.", "The message says which value and what is expected.")
    TWIN_UNREACHABLE = ("twin-unreachable", Category.USAGE, "No twin answers at the address.", "Start one with `pcrgate twin up`, or give the address it printed.")
    USAGE_PORT = ("usage-port", Category.USAGE, "A port is in use, or not ours to listen on.", "End the other program, or give another port; 0 takes any free one.")
    # --- twin state -------------------------------------------------------------------------------------------------
    TWIN_STATE_LOCKED = ("twin-state-locked", Category.USAGE, "Another twin uses the state directory.", "End the other twin, or give another directory.")
    TWIN_STATE_CORRUPT = ("twin-state-corrupt", Category.USAGE, "The journal in the state directory is damaged.", "Restore the directory, or begin with an empty one.")
    TWIN_STATE_VERSION = ("twin-state-version", Category.USAGE, "The state was written by another version of the twin.", "Use the version that wrote it, or begin with an empty directory.")
    # --- prover ------------------------------------------------------------------------------------------------------
    PROVE_QUESTION = ("prove-question", Category.KEY_POLICY, "What is to be proven cannot be meant: no or zero measurements, or a policy of the wrong kind.", "The message names what is missing or cannot be; approve a PCR0, or NitroTPM PCR4, 7 and 12 together.")
    PROVE_LIMIT = ("prove-limit", Category.KEY_POLICY, "The policies name more principals or condition keys than the prover takes.", "Split the policy; no real key policy comes near the limit in the message.")
    # --- session and receipts ------------------------------------------------------------------------------------------
    SESSION_MESSAGE = ("session-message", Category.SESSION, "A handshake message, ticket or key is not of the specified form.", "The sender's bytes are wrong or were changed on the way; start the handshake again.")
    SESSION_IDENTITY = ("session-identity", Category.SESSION, "An identity statement is not the one that the evidence or the message commits to.", "Ask for fresh evidence and its identity statement; if it stays, somebody in between exchanges them.")
    SESSION_OPEN = ("session-open", Category.SESSION, "A sealed message was refused; it is not said why.", "Send it again; if it stays, somebody in between changes messages, or the two sides speak of different sessions.")
    SESSION_NONCE = ("session-nonce", Category.SESSION, "A hello names a nonce for which no evidence was made lately, or that was used before.", "Ask for fresh evidence with a fresh nonce, and start again.")
    SESSION_HELLO = ("session-hello", Category.SESSION, "A hello was refused; it is not said why.", "Check that the manifest lists the agent with this grant key and that the grant has not expired.")
    SESSION_RESPONSE = ("session-response", Category.SESSION, "The answer to a hello is not the attested enclave's answer to this hello.", "Start again with fresh evidence; if it stays, somebody in between answers instead of the enclave.")
    SESSION_TICKET = ("session-ticket", Category.SESSION, "A ticket was refused; it is not said why.", "Begin a new session.")
    SESSION_UNKNOWN = ("session-unknown", Category.SESSION, "No handshake waits for this confirmation.", "Confirm within a minute of the answer; else start again.")
    SESSION_REPLAYED = ("session-replayed", Category.SESSION, "A record came a second time, or later than the replay window allows.", "Seal every request afresh; a repeated record has no second effect.")
    SESSION_EXPIRED = ("session-expired", Category.SESSION, "The session has expired.", "Begin a new session.")
    SESSION_LIMIT = ("session-limit", Category.SESSION, "A session, record or table of handshakes has reached its limit.", "Begin a new session, or wait until other handshakes end.")
    SESSION_ENDED = ("session-ended", Category.SESSION, "The session was ended and its keys are wiped.", "Begin a new session.")
    USAGE_SESSION = ("usage-session", Category.USAGE, "A session parameter that cannot be meant.", "The message says which value and what is expected.")
    RECEIPT_FORM = ("receipt-form", Category.RECEIPT, "The bytes are not a receipt of the specified form.", "Check that the file is a receipt of this version, and unchanged.")
    RECEIPT_SIGNATURE = ("receipt-signature", Category.RECEIPT, "The signature is not that of the attested receipt key.", "The receipt is forged, or of another boot; get the evidence of the boot it names.")
    RECEIPT_IDENTITY = ("receipt-identity", Category.RECEIPT, "A receipt names another boot or manifest than the identity it was checked against.", "Check it against the evidence of its own boot.")
    RECEIPT_MISMATCH = ("receipt-mismatch", Category.RECEIPT, "A receipt is not about the request, result or session it was given for.", "Do not use the result.")
    RECEIPT_GAP = ("receipt-gap", Category.RECEIPT, "Receipts are missing from the chain.", "Ask for the missing ones; whoever withholds them hides a request or a refusal.")
    RECEIPT_CHAIN = ("receipt-chain", Category.RECEIPT, "A receipt does not follow the one before it.", "The chain was changed, or two boots were mixed.")
    RECEIPT_BUNDLE = ("receipt-bundle", Category.RECEIPT, "The file is not a bundle of receipts, identity statement and evidence.", "Make it with the client, or see docs/protocol.md for the form.")
    USAGE_RECEIPT = ("usage-receipt", Category.USAGE, "A receipt field that cannot be meant.", "The message says which field and what is expected.")
    # --- service: what a parent refuses --------------------------------------------------------------------------------
    SERVICE_BUSY = ("service-busy", Category.SERVICE, "The service has as much to do as it takes on.", "Try again after the seconds that Retry-After says.")
    SERVICE_CONFLICT = ("service-conflict", Category.SERVICE, "Something else already has this name, or is being put there.", "Compare what is there with what you sent; wait for the other upload to end.")
    SERVICE_CREDENTIALS = ("service-credentials", Category.SERVICE, "The request has no bearer token, or one that is unknown or revoked.", "Send the token that the operator of the service gave you.")
    SERVICE_DIGEST = ("service-digest", Category.SERVICE, "The bytes that came have another digest than their name.", "Upload the file again from its beginning.")
    SERVICE_IDEMPOTENCY = ("service-idempotency", Category.SERVICE, "An Idempotency-Key came again with another request.", "Make a new key for each request; repeat one only with the same bytes.")
    SERVICE_LENGTH_REQUIRED = ("service-length-required", Category.SERVICE, "The length of an upload is not said.", "Send Content-Length, or Content-Range with the whole length.")
    SERVICE_METHOD = ("service-method", Category.SERVICE, "The path does not take this method.", "See the Allow header of the answer.")
    SERVICE_NOT_FOUND = ("service-not-found", Category.SERVICE, "Nothing is there, or nothing that you may see.", "Check the name; results and sessions are shown to the caller that made them.")
    SERVICE_PRECONDITION = ("service-precondition", Category.SERVICE, "What is there is not what the request expects there.", "Get it again, with its ETag, and decide anew.")
    SERVICE_QUERY = ("service-query", Category.SERVICE, "The query has a parameter that the path does not take, or one twice.", "The message lists what the path takes; docs/api.md says what it means.")
    SERVICE_RATE = ("service-rate", Category.SERVICE, "The caller sent more requests than it may in this time.", "Try again after the seconds that Retry-After says.")
    SERVICE_REQUEST = ("service-request", Category.SERVICE, "A header, parameter or body of the request is not of its form.", "The message names the place and what is expected.")
    SERVICE_ROLE = ("service-role", Category.SERVICE, "The token is good, and its role does not do this.", "Use a token of the role that the message names.")
    SERVICE_SETTINGS = ("service-settings", Category.USAGE, "The service's settings cannot be meant.", "The message names the setting and what is expected.")
    SERVICE_STORE = ("service-store", Category.SERVICE, "The disk, bucket or database of the service failed.", "Try again; if it stays, its operator must look.")
    SERVICE_TIMEOUT = ("service-timeout", Category.SERVICE, "The body of a request stopped coming.", "Send it again over a better connection; an upload goes on where it stood.")
    SERVICE_TOO_LARGE = ("service-too-large", Category.SERVICE, "The body is longer than the service takes here.", "The limit is in the message.")
    SERVICE_UPLOAD_OFFSET = ("service-upload-offset", Category.SERVICE, "A part of an upload does not begin where the last one ended.", "Go on at the Upload-Offset of the answer.")
    # --- client: what an agent's own side refuses ---------------------------------------------------------------------
    CLIENT_ANSWER = ("client-answer", Category.CLIENT, "The service's answer is not of the form that its API has.", "Check the address; nothing of the answer was used.")
    CLIENT_PENDING = ("client-pending", Category.CLIENT, "The result was not there in time.", "Ask for the result again by its id, in the same session.")
    CLIENT_TRANSPORT = ("client-transport", Category.CLIENT, "The service cannot be reached, or broke the connection off.", "Check the address and the network; what is safe to repeat was repeated.")
    TRUST_MANIFEST = ("trust-manifest", Category.POLICY, "The manifest that the enclave runs under is not one that the trust policy accepts.", "Compare its digest, publisher and epoch with the policy; update the policy only for a release you know.")
    TRUST_POLICY = ("trust-policy", Category.USAGE, "A trust policy that cannot be meant, or that leaves open what it must state.", "State roots, PCR0 and the manifest or its publisher; the message names the field.")
    # --- laptop: what local/ composes on one machine -------------------------------------------------------------------
    LOCAL_MODEL = ("local-model", Category.USAGE, "The demonstration's model is not installed, or is not the release it knows.", "Run make setup where the packages can be reached; python -m local dev needs no model from outside.")
    LOCAL_PROCESS = ("local-process", Category.INTERNAL, "A process of the laptop's deployment ended, or did not get ready in time.", "The message holds the end of what it printed; run it again on a machine with less to do.")
    LOCAL_TERRAFORM = ("local-terraform", Category.INTERNAL, "Terraform failed against the twin.", "The message holds the end of what it printed; --without-terraform provisions through boto3.")
    # fmt: on


class PcrgateError(Exception):
    """Carry a stable code and a message of public values.

    Attributes:
        code: which refusal this is.
        message: the fact, then the expectation; lower case, no secret values.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(f"{code.code}: {message}")
        self.code: Final = code
        self.message: Final = message

    def __reduce__(self) -> tuple[type["PcrgateError"], tuple[ErrorCode, str]]:
        return type(self), (self.code, self.message)


class CborError(PcrgateError):
    """Bytes are not the one CBOR item they must be; each reader converts this at its edge."""


class EvidenceError(PcrgateError):
    """Evidence was refused; the subclass says at which step."""


class MalformedEvidenceError(EvidenceError):
    """The bytes are not an attestation document as specified."""


class UntrustedEvidenceError(EvidenceError):
    """The certificate chain does not lead to a pinned root."""


class ForgedEvidenceError(EvidenceError):
    """The signature is not the leaf's over these bytes."""


class StaleEvidenceError(EvidenceError):
    """The document is too old, or from the future."""


class AppraisalError(EvidenceError):
    """The document is authentic but not what the policy expects."""


class KeyPolicyError(PcrgateError):
    """A key policy, identity policy, grant or template input was refused."""


class ReleaseError(PcrgateError):
    """Something was not released, or what came is not what was asked for."""


class ManifestError(PcrgateError):
    """A release manifest was refused."""


class SessionError(PcrgateError):
    """A session message or ticket was refused."""


class ReceiptError(PcrgateError):
    """A receipt was refused."""


class ClientError(PcrgateError):
    """An agent's own side refused an answer, or did not get one."""


class ServiceError(PcrgateError):
    """The parent's service refused a request, or cannot carry it out now."""


class WireError(PcrgateError):
    """A frame or message on the wire was refused."""


class NsmError(PcrgateError):
    """The Nitro Secure Module refused, or its answer is not as specified."""


class UsageError(PcrgateError):
    """The caller asked for something that cannot be meant."""
