"""A file of a declared form from what a test cares about: every other key is empty."""

from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict


def whole(kind: Any, value: Any = None) -> Any:
    """``value`` with every absent key that ``kind`` declares."""
    if is_typeddict(kind):
        given = value or {}
        return given | {name: whole(one, given.get(name)) for name, one in get_type_hints(kind).items()}
    origin, inner = get_origin(kind), get_args(kind)
    if NoneType in inner:
        return None if value is None else whole(inner[0], value)
    if origin is dict:
        return {name: whole(inner[1], one) for name, one in (value or {}).items()}
    if value is not None:
        return value
    return inner[0] if origin is Literal else (origin or kind)()
