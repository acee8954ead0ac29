"""The template language: exactly what Terraform's ``templatefile`` and this module expand alike, and nothing more.

Three forms, and any other ``${`` or ``%{`` is refused, so that a template which Terraform would read in another way
cannot exist:

- ``${jsonencode(NAME)}`` or ``${jsonencode(NAME.FIELD)}``: the value as JSON;
- ``%{ for NAME in NAMES }`` ... ``%{ endfor }``: the text once for every member of a list; no nesting;
- ``~`` beside either brace, which in Terraform trims white space. It is ignored here: white space means nothing in
  JSON, and no form stands inside a JSON string.

Both sides write the same JSON value, not the same bytes: Terraform escapes ``<``, ``>`` and ``&``.

Spec: Terraform, "Strings and Templates"; functions ``templatefile`` and ``jsonencode``.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from pcrgate.errors import ErrorCode, KeyPolicyError

TemplateValue = str | Sequence[str] | Sequence[Mapping[str, "str | Sequence[str]"]]
"""What a template variable may hold."""

_NAME: Final = r"[a-z][a-z0-9_]*"
_FORM: Final = re.compile(
    rf"\$\{{jsonencode\((?P<path>{_NAME}(?:\.{_NAME})?)\)\}}"
    rf"|%\{{~? for (?P<item>{_NAME}) in (?P<items>{_NAME}) ~?\}}"
    r"|%\{~? (?P<endfor>endfor) ~?\}"
)
_OTHER: Final = re.compile(r"[$%]\{")


def variable_names(text: str) -> frozenset[str]:
    """Return the names a template takes from outside.

    Raises:
        KeyPolicyError: ``policy-template`` when the text uses any other form.
    """
    loops = [match for match in _forms(text) if match["item"]]
    inner = {match["item"] for match in loops}
    paths = {match["path"].partition(".")[0] for match in _forms(text) if match["path"]}
    return frozenset((paths - inner) | {match["items"] for match in loops})


def expand(text: str, variables: Mapping[str, TemplateValue]) -> str:
    """Return the template's text with every form replaced.

    Args:
        text: the template.
        variables: a value for exactly the names that ``variable_names`` returns.

    Raises:
        KeyPolicyError: ``policy-template`` for another form, an unbalanced or nested loop, a name that is missing or
            not used, or a loop over something else than a list.
    """
    wanted = variable_names(text)
    if variables.keys() != wanted:
        missing, unused = sorted(wanted - variables.keys()), sorted(variables.keys() - wanted)
        raise _refusal(f"variables missing: {missing}, not used: {unused}; expected exactly {sorted(wanted)}")
    out: list[str] = []
    position = 0
    loop: tuple[str, str, int] | None = None
    for match in _forms(text):
        if match["item"]:
            if loop is not None:
                raise _refusal("a loop stands inside a loop, expected none")
            out.append(_substitute(text[position : match.start()], variables))
            loop = (match["item"], match["items"], match.end())
            position = match.end()
        elif match["endfor"]:
            if loop is None:
                raise _refusal("endfor without a loop")
            item, items, start = loop
            body = text[start : match.start()]
            out.extend(_substitute(body, {**variables, item: member}) for member in _members(variables, items))
            loop, position = None, match.end()
    if loop is not None:
        raise _refusal("a loop has no endfor")
    out.append(_substitute(text[position:], variables))
    return "".join(out)


def _forms(text: str) -> Iterator[re.Match[str]]:
    """Yield every form, after checking that nothing else looks like one."""
    known = {match.start() for match in _FORM.finditer(text)}
    for match in _OTHER.finditer(text):
        if match.start() not in known:
            line = text.count("\n", 0, match.start()) + 1
            raise _refusal(f"line {line} holds a form other than jsonencode(NAME), for and endfor")
    return _FORM.finditer(text)


def _members(variables: Mapping[str, object], name: str) -> Sequence[object]:
    members = variables[name]
    if isinstance(members, str) or not isinstance(members, Sequence):
        raise _refusal(f"{name} is not a list, expected one to loop over")
    return members


def _substitute(text: str, variables: Mapping[str, object]) -> str:
    def value(match: re.Match[str]) -> str:
        name, _, field = match["path"].partition(".")
        if name not in variables:
            raise _refusal(f"{name} is used outside its loop")
        found = variables[name]
        if field:
            if not isinstance(found, Mapping) or field not in found:
                raise _refusal(f"{name} has no field {field}")
            found = found[field]
        return json.dumps(found, ensure_ascii=False)

    return _FORM.sub(value, text)


def _refusal(message: str) -> KeyPolicyError:
    return KeyPolicyError(ErrorCode.POLICY_TEMPLATE, message)
