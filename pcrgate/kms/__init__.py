"""Ask AWS KMS with an attestation document as recipient."""
