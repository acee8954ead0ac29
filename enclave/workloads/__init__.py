"""What the enclave does with requests: one module a workload, one entry point each."""
