"""The AWS of a laptop: KMS with Recipient, a software NSM, a dev PKI."""
