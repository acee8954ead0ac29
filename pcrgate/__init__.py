"""Release secrets only to an AWS Nitro Enclave whose measurements were checked."""
