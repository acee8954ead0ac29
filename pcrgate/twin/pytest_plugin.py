"""Give any pytest project a KMS twin: fixtures ``kms_twin``, ``nsm`` and ``attested_kms``.

Loaded by pytest through the ``pytest11`` entry point, so nothing heavy is imported until a fixture is asked for.
"""
