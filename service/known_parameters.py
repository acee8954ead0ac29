"""Refuse query parameters that a route does not have: one that is misspelt must not count as left out."""

from fastapi import Request
from fastapi.routing import APIRoute

from pcrgate.errors import ErrorCode, ServiceError


def require_known(request: Request) -> None:
    """Let a request through whose query has parameters of its route alone, each once.

    Raises:
        ServiceError: ``service-query``.
    """
    if not request.scope["query_string"]:
        return
    route = request.scope.get("route")
    known = {field.alias for field in route.dependant.query_params} if isinstance(route, APIRoute) else set()
    given = [name for name, _ in request.query_params.multi_items()]
    if len(set(given)) < len(given) or not known.issuperset(given):
        expected = f"each of {', '.join(sorted(known))} once at most" if known else "none"
        raise ServiceError(
            ErrorCode.SERVICE_QUERY, f"the query has a parameter that is unknown or stands twice, expected {expected}"
        )
