"""Run the laptop's deployment: ``python -m local dev``, ``python -m local demo``, and the processes of both."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pcrgate.errors import Category, PcrgateError

EXIT_INTERRUPTED: Final = 130
"""128 + SIGINT."""

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 fine, 1 refused, 2 usage, 130 interrupted."""
    options = _parser().parse_args(arguments)
    chosen = {"dev": _dev, "demo": _demo, "enclave": _enclave, "parent": _parent, "trusted-code": _trusted_code}
    try:
        return chosen[options.command](options)
    except PcrgateError as error:
        sys.stderr.write(f"refused: {error.code.code}: {error.message}\nnext: {error.code.advice}\n")
        return EXIT_USAGE if error.code.category is Category.USAGE else EXIT_REFUSED
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="pcrgate on one machine, without AWS.")
    commands = parser.add_subparsers(dest="command", required=True)
    dev = commands.add_parser("dev", help="run twin, keys, parent and enclave until Ctrl-C; print how to call them")
    dev.add_argument("--port", type=_port, default=8080, help="of the service; 0 takes any free one (%(default)s)")
    dev.add_argument("--json", action="store_true", help="print one JSON object once ready")
    demo = commands.add_parser("demo", help="seal, provision, release, attest, work; and what is refused")
    demo.add_argument("--json", action="store_true", help="print one JSON object instead of the story")
    demo.add_argument(
        "--without-terraform", action="store_true", help="provision through boto3, also where Terraform is"
    )
    enclave = commands.add_parser("enclave", help="run the enclave with a software NSM, measured from its own files")
    for name, text in (
        ("--config", "file with the measured configuration"),
        ("--pki", "folder with the twin's development PKI"),
        ("--socket", "Unix socket to listen on"),
        ("--broker", "Unix socket of the parent's broker"),
        ("--relay", "Unix socket of the parent's relay to KMS"),
    ):
        enclave.add_argument(name, type=Path, required=True, help=text)
    enclave.add_argument("--end-with-stdin", action="store_true", help="end when standard input closes")
    parent = commands.add_parser("parent", help="run the parent on Unix sockets; ends when standard input closes")
    parent.add_argument("--folder", type=Path, required=True, help="folder with the parent's plan")
    parent.add_argument("--enclave", type=Path, required=True, help="Unix socket on which the enclave listens")
    parent.add_argument("--fd", type=int, required=True, help="descriptor of the bound socket to serve on")
    budget = commands.add_parser("trusted-code", help="print the code that an enclave image holds, and its size")
    budget.add_argument("--dockerfile", action="store_true", help="print COPY instructions for the Dockerfile")
    return parser


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError("not a port, expected 0 to 65535")
    return int(text)


def _dev(options: argparse.Namespace) -> int:
    from local import dev  # noqa: PLC0415 - each command loads what it needs

    return dev.run(port=options.port, as_json=options.json)


def _demo(options: argparse.Namespace) -> int:
    from local import demo  # noqa: PLC0415 - each command loads what it needs

    return demo.run(as_json=options.json, with_terraform=not options.without_terraform)


def _trusted_code(options: argparse.Namespace) -> int:
    from local import trusted_code  # noqa: PLC0415 - each command loads what it needs

    return trusted_code.run(dockerfile=options.dockerfile)


def _parent(options: argparse.Namespace) -> int:
    from local import parent_process  # noqa: PLC0415 - each command loads what it needs
    from local.processes import end_with_stdin  # noqa: PLC0415

    end_with_stdin()
    parent_process.run(options.folder, options.enclave, options.fd)
    return 0


def _enclave(options: argparse.Namespace) -> int:
    from local.enclave import LaptopEnclave  # noqa: PLC0415 - each command loads what it needs
    from local.processes import end_with_stdin  # noqa: PLC0415

    if options.end_with_stdin:
        end_with_stdin()
    LaptopEnclave(
        configuration=options.config,
        pki_dir=options.pki,
        socket=options.socket,
        broker=options.broker,
        relay=options.relay,
    ).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
