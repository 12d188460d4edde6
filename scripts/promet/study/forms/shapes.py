"""JSON of a declared form: a ``TypedDict`` (metrics, survival and pooled in this folder), so that a type checker follows every key and
the bytes are those of the plain dictionary. pydantic is loaded only when a file is checked.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from promet.core.errors import IntegrityError
from promet.core.files import as_json, read_json, write_text
from promet.study.forms import metrics, pooled, survival

T = TypeVar("T")
FORMS: dict[str, type] = {
    metrics.FILE: metrics.Metrics,
    survival.FILE: survival.Survival,
    pooled.FILE: pooled.Pooled,
}


def write(kind: type[T], path: str | Path, value: T) -> None:
    """Write ``value`` as ``write_json`` does.

    Raises:
        IntegrityError: it has not the form: the stage is wrong, and nothing is written.
    """
    text = as_json(value)
    checked(kind, text, Path(path).name)
    write_text(path, text)


def read(kind: type[T], path: str | Path) -> T:
    """The content of a file of this form.

    Raises:
        IntegrityError: it has another form: another promet wrote it, or a hand.
    """
    return checked(kind, Path(path).read_text(encoding="utf-8"), Path(path).name)


def load(path: Path) -> Any:
    """A JSON product; one of a declared form as ``read`` gives it."""
    return read(FORMS[path.name], path) if path.name in FORMS else read_json(path)


def checked(kind: type[T], text: str, name: str) -> T:
    """The JSON ``text`` of the file ``name``, every key of it known and of its type."""
    from pydantic import TypeAdapter, ValidationError

    try:
        found = json.loads(text)
        if (
            TypeAdapter(kind).validate_json(text, strict=True) != found
        ):  # which leaves out what is not declared
            raise ValueError("a key that is not known")
    except ValueError as error:
        where = error.errors() if isinstance(error, ValidationError) else []
        place = ".".join(str(part) for part in where[0]["loc"]) if where else "a key that is not known"
        raise IntegrityError(
            "E_PRODUCT_FORM",
            f"{name} has not the form that this promet writes, at {place}",
            "the file as this promet's stage wrote it",
            "Delete the record beside it and run again",
        ) from error
    return found
