"""A KMS of our own: keys, ciphertexts, grants, aliases and rotation in pure Python, apart from any HTTP or policy."""
