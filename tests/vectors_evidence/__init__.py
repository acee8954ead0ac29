"""The generator of ``tests/vectors/evidence``: deterministic, run again and diffed by the tests.

It writes DER and CBOR by hand, apart from the library and from the software NSM, because what it has to write is wrong.
"""
