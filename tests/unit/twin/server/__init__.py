"""Tests of the twin's server, module by module."""
