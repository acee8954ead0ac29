"""What runs inside the enclave."""
