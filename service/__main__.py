"""Run the parent on a Nitro host: ``python -m service``; or make and revoke tokens, or forget an old boot's receipts.

Settings are in ``PCRGATE_SERVICE_...`` (service/settings.py). This is the production composition: AF_VSOCK, the
instance role, S3 or files. A laptop's is in ``local/``.
"""

import argparse
import asyncio
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import closing

from pcrgate.errors import ErrorCode, PcrgateError, ServiceError, UsageError
from service.addresses import VsockAddress
from service.credentials import ChainCredentials
from service.process import Places, open_state, serve
from service.relay import Upstream
from service.settings import ServiceSettings
from service.state_store import Role
from service.upkeep import PIECE


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return the exit code: 0 fine, 1 refused, 2 usage."""
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve until SIGTERM (the default)")
    add = commands.add_parser("token-add", help="make a bearer token and print it, this once")
    add.add_argument("role", choices=[role.value for role in Role])
    add.add_argument("name", help="whose it is: letters, digits, dots, underscores, hyphens")
    revoke = commands.add_parser("token-revoke", help="let a token count no more")
    revoke.add_argument("token_id", help="the 16 hex digits in the token")
    forget = commands.add_parser("receipts-forget", help="drop the receipts of a boot that has ended")
    forget.add_argument("boot_id", help="64 hex digits")
    options = parser.parse_args(arguments)
    try:
        settings = ServiceSettings.read()
        if options.command == "token-add":
            add_token(settings, Role(options.role), options.name)
        elif options.command == "token-revoke":
            revoke_token(settings, options.token_id)
        elif options.command == "receipts-forget":
            forget_receipts(settings, options.boot_id)
        else:
            asyncio.run(serve(settings, production_places(settings)))
    except PcrgateError as error:
        sys.stderr.write(f"refused: {error.code.code}: {error.message}\nnext: {error.code.advice}\n")
        return 2 if isinstance(error, UsageError) else 1
    return 0


def production_places(settings: ServiceSettings) -> Places:
    """Return the places of a Nitro host.

    Raises:
        UsageError: ``usage-relay-host``.
    """
    has_relay = bool(settings.kms_host)
    return Places(
        enclave=VsockAddress(cid=settings.enclave_cid, port=settings.enclave_port),
        broker=VsockAddress(cid=socket.VMADDR_CID_ANY, port=settings.broker_port),
        relay=VsockAddress(cid=socket.VMADDR_CID_ANY, port=settings.relay_port) if has_relay else None,
        upstream=Upstream.kms(settings.kms_host) if has_relay else None,
        credentials=ChainCredentials(),
    )


def add_token(settings: ServiceSettings, role: Role, name: str) -> None:
    """Make a token and print it.

    Raises:
        UsageError: ``service-settings`` for a name of another form.
    """
    state, tokens = open_state(settings)
    with closing(state):
        sys.stdout.write(tokens.make(role, name, now_ms=time.time_ns() // 1_000_000) + "\n")


def revoke_token(settings: ServiceSettings, token_id: str) -> None:
    """Revoke a token.

    Raises:
        UsageError: ``service-settings`` when there is none that counts.
    """
    state, _ = open_state(settings)
    with closing(state):
        if not state.revoke_token(token_id):
            raise UsageError(ErrorCode.SERVICE_SETTINGS, "no such token counts, expected the 16 hex digits of one")


def forget_receipts(settings: ServiceSettings, boot_id: str) -> None:
    """Drop the receipts of a boot, in pieces, and print how many; a service that runs is not held up.

    Raises:
        UsageError: ``service-settings`` when nothing is known of such a boot.
        ServiceError: ``service-conflict`` for the latest boot: its agents still follow the chain; ``service-store``.
    """
    state, _ = open_state(settings)
    with closing(state):
        boots = [boot.hex() for boot in state.boots()]
        if boot_id not in boots:
            raise UsageError(ErrorCode.SERVICE_SETTINGS, "no receipts of such a boot, expected 64 hex digits")
        if boot_id == boots[0]:
            raise ServiceError(ErrorCode.SERVICE_CONFLICT, "the boot is the latest one, expected one that has ended")
        total = 0
        while count := state.forget_receipts(bytes.fromhex(boot_id), most=PIECE):
            total += count
    sys.stdout.write(f"{total} receipts forgotten\n")


if __name__ == "__main__":
    sys.exit(main())
