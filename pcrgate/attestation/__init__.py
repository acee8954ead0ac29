"""Verify attestation documents: bytes in, a verified type out, or an error."""
