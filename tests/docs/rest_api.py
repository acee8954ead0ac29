"""Render ``docs/api.md`` from the OpenAPI document of the service."""

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from service.addresses import UnixAddress
from service.app import create_app
from service.artifact_files import FileArtifactStore
from service.enclave_link import EnclaveLink
from service.openapi_document import ALWAYS
from service.settings import ServiceSettings
from service.shelf import Shelf
from service.state_sqlite import SqliteStateStore
from service.tokens import Tokens

HEAD = """# REST API

Generated from the service's OpenAPI document by `make docs`; `make check` fails when the two differ. A running service
has the same document, with schemas and examples, at `/openapi.json`.

Every request but health and the document needs `Authorization: Bearer TOKEN`; the service's operator makes tokens with
`python -m service token-add ROLE NAME`, and each role does its own work only. Bytes travel as base64, names as hex.
Every refusal is `application/problem+json` (RFC 9457) with a `code` of [errors.md](errors.md); 429 and 503 say in
`Retry-After` when to come again. Beside what stands below, every answer but health's can be one of 400, 401, 403, 404, 405,
408, 413, 429, 500 and 503. Nothing that this API says is trusted: `pcrgate.client` verifies evidence, results and
receipts itself.
"""


def render() -> str:
    """Return the whole document."""
    document = openapi()
    parts = [HEAD]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(f"\n## {method.upper()} {path}\n\n{operation['description']}\n")
            parts += _table("Parameter", "where", operation.get("parameters", []))
            if "requestBody" in operation:
                parts.append(f"\nBody: {_content(operation['requestBody']['content'])}\n")
            parts.append("\n| answer | content |\n|---|---|\n")
            parts += [
                f"| {status} | {_answer(int(status), answer)} |\n"
                for status, answer in operation["responses"].items()
                if int(status) not in ALWAYS or operation.get("security") == []
            ]
    parts.append("\n# Shapes\n")
    for name, schema in sorted(document["components"]["schemas"].items()):
        if name in {"HTTPValidationError", "ValidationError"}:
            continue
        required = set(schema.get("required", ()))
        parts.append(
            f"\n## {name}\n\n{schema.get('description', '')}\n\n| member | always there | what |\n|---|---|---|\n"
        )
        parts += [
            f"| `{member}` | {'yes' if member in required else 'no'} | {_what(rule)} |\n"
            for member, rule in schema["properties"].items()
        ]
    return "".join(parts)


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document of a service that is not started."""
    with tempfile.TemporaryDirectory(prefix="pcrgate-docs-") as name:
        folder = Path(name)
        with closing(SqliteStateStore(folder / "state.db")) as state:
            artifacts = FileArtifactStore(folder / "artifacts")
            app = create_app(
                ServiceSettings.model_validate({"data_directory": folder}),
                state=state,
                artifacts=artifacts,
                tokens=Tokens(state, bytes(32)),
                shelf=Shelf(folder / "shelf", state, artifacts),
                link=EnclaveLink(UnixAddress(path=folder / "nobody.sock")),
            )
            document: dict[str, Any] = app.openapi()
            return document


def _table(first: str, second: str, rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    head = f"\n| {first} | {second} | what |\n|---|---|---|\n"
    return [
        head,
        *(f"| `{row['name']}` | {row['in']} | {row.get('description') or _what(row['schema'])} |\n" for row in rows),
    ]


def _answer(status: int, answer: dict[str, Any]) -> str:
    told: str = answer["description"]
    return told if status >= 400 else _content(answer.get("content", {})) or told


def _content(content: dict[str, Any]) -> str:
    shown = []
    for kind, entry in content.items():
        name = entry.get("schema", {}).get("$ref", "").rpartition("/")[2]
        shown.append(f"`{kind}`, [{name}](#{name.lower()})" if name else f"`{kind}`")
    return "; ".join(shown)


def _what(rule: dict[str, Any]) -> str:
    kinds = [one.get("type") or one.get("$ref", "").rpartition("/")[2] for one in rule.get("anyOf", [rule])]
    told = rule.get("description", "")
    shown = " or ".join(kind for kind in kinds if kind)
    return f"{shown}: {told}" if told and shown else told or shown
