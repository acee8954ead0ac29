"""The laptop deployment: twin, enclave and service composed on one machine."""
