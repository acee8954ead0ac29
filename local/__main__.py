"""Run the laptop's deployment: ``python -m local demo [--json]``, ``python -m local enclave --config FILE ...``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pcrgate.errors import PcrgateError

EXIT_INTERRUPTED = 130
"""128 + SIGINT."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local", description="pcrgate on one machine, without AWS.")
    commands = parser.add_subparsers(dest="command", required=True)
    demonstrate = commands.add_parser("demo", help="appraise evidence, prove a key policy, release a key")
    demonstrate.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    enclave = commands.add_parser("enclave", help="run the enclave with a software NSM, measured from its own files")
    for name, text in (
        ("--config", "file with the measured configuration"),
        ("--pki", "folder with the twin's development PKI"),
        ("--socket", "Unix socket to listen on"),
        ("--broker", "Unix socket of the parent's broker"),
        ("--relay", "Unix socket of the parent's relay to KMS"),
    ):
        enclave.add_argument(name, type=Path, required=True, help=text)
    budget = commands.add_parser("trusted-code", help="print the code that an enclave image holds, and its size")
    budget.add_argument("--dockerfile", action="store_true", help="print COPY instructions for the Dockerfile")
    options = parser.parse_args(arguments)
    chosen = {"demo": _demo, "enclave": _enclave, "trusted-code": _trusted_code}[options.command]
    try:
        return chosen(options)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED


def _demo(options: argparse.Namespace) -> int:
    from local import demo  # noqa: PLC0415 - each command loads what it needs

    return demo.run(as_json=options.json)


def _trusted_code(options: argparse.Namespace) -> int:
    from local import trusted_code  # noqa: PLC0415 - each command loads what it needs

    return trusted_code.run(dockerfile=options.dockerfile)


def _enclave(options: argparse.Namespace) -> int:
    from local.enclave import LaptopEnclave  # noqa: PLC0415 - each command loads what it needs

    try:
        LaptopEnclave(
            configuration=options.config,
            pki_dir=options.pki,
            socket=options.socket,
            broker=options.broker,
            relay=options.relay,
        ).run()
    except PcrgateError as error:
        sys.stderr.write(f"refused: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
