"""Hold what routes share, and let each request through as the role it needs."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from structlog.typing import FilteringBoundLogger

from pcrgate.errors import ErrorCode, ServiceError
from service.artifact_store import ArtifactStore
from service.dispatcher import Dispatcher
from service.enclave_desk import EnclaveDesk
from service.known_parameters import require_known
from service.metrics import Metrics
from service.rate_limits import RateLimits
from service.settings import ServiceSettings
from service.shelf import Shelf
from service.state_store import Role, StateStore, TokenRecord
from service.tokens import Tokens
from service.uploads import Uploads


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Hold the parts of one service.

    Attributes:
        settings: what the operator set.
        state: what is remembered.
        artifacts: sealed files.
        tokens: who may ask.
        uploads: sealed files that arrive.
        shelf: what the enclave is handed.
        rates: how often.
        desk: the enclave.
        dispatcher: invocations under way.
        metrics: what is counted.
        log: where lines go.
    """

    settings: ServiceSettings
    state: StateStore
    artifacts: ArtifactStore
    tokens: Tokens
    uploads: Uploads
    shelf: Shelf
    rates: RateLimits
    desk: EnclaveDesk
    dispatcher: Dispatcher
    metrics: Metrics
    log: FilteringBoundLogger


async def parts_of(request: Request) -> Parts:
    """Return the parts of the service that a request came to; no thread is needed for that."""
    found: Parts = request.app.state.parts
    return found


def only(*roles: Role) -> Callable[[Request], Awaitable[TokenRecord]]:
    """Return the dependency that lets requests of these roles through.

    The dependency raises ServiceError: ``service-credentials``, ``service-rate``, ``service-role``, ``service-query``.
    """

    async def checked(request: Request) -> TokenRecord:
        parts = await parts_of(request)
        try:
            token = parts.tokens.check(request.headers.get("authorization"))
        except ServiceError:
            # Whoever guesses is slowed down by address; the bucket is never that of a caller's name.
            parts.rates.take(f"address {request.client.host if request.client else ''}")
            raise
        request.scope["pcrgate.caller"] = token.name
        parts.rates.take(token.name)
        if token.role not in roles:
            wanted = " or ".join(role.value for role in roles)
            raise ServiceError(ErrorCode.SERVICE_ROLE, f"the token is of role {token.role.value}, expected {wanted}")
        require_known(request)
        return token

    return checked


def now_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


PartsOf = Annotated[Parts, Depends(parts_of)]
Caller = Annotated[TokenRecord, Depends(only(Role.CALLER))]
Publisher = Annotated[TokenRecord, Depends(only(Role.PUBLISHER))]
Operator = Annotated[TokenRecord, Depends(only(Role.OPERATOR))]
Anyone = Annotated[TokenRecord, Depends(only(*Role))]
