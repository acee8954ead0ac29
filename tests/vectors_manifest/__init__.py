"""The generator of ``tests/vectors/manifest``: deterministic, run again and diffed by the tests."""
