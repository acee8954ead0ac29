"""Test the attested KMS client and the NSM client."""
