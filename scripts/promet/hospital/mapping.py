"""How a REDCap project says what the table needs: seven verbs, no expressions."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from promet.core.errors import UsageError
from promet.core.settings import Settings
from promet.study.table import COLUMNS, SOURCES


class Column(Settings):
    """Where one column of the table comes from; exactly one of ``field``, ``any``, ``percent`` and ``months``."""

    field: str = Field("", description="the value of a field")
    any: list[str] = Field([], description="1 if one of these checkboxes is ticked, else 0")
    percent: list[str] = Field([], description="part and whole, as per cent", max_length=2)
    months: list[str] = Field([], description="two dates, as months between them", max_length=2)
    codes: dict[str, str | int | float] = Field({}, description="code of the field -> value of the table")
    take: Literal["only", "last", "any"] = Field(
        "only",
        description="of several values: only one may be there; that of the last repetition; 1 if one is 1",
    )
    when: str = Field(
        "", description="status of a form (FORM_complete): the value counts where it says 2, complete"
    )
    event: str = Field("", description="redcap_event_name")
    instrument: str = Field("", description="redcap_repeat_instrument")
    from_event: str = Field("", description="of months: the event of the first date")
    stop_at: str = Field(
        "", description="of months: the first line in which this field is 1 gives the second date"
    )

    @model_validator(mode="after")
    def _one_verb(self) -> Self:
        verbs = [name for name in ("field", "any", "percent", "months") if getattr(self, name)]
        if len(verbs) != 1:
            raise ValueError("exactly one of field, any, percent, months")
        if any(len(pair) == 1 for pair in (self.percent, self.months)):
            raise ValueError("percent and months take two fields")
        if self.codes and not self.field:
            raise ValueError("codes go with field")
        if (self.from_event or self.stop_at) and not self.months:
            raise ValueError("from_event and stop_at go with months")
        return self

    def fields(self) -> set[str]:
        """Fields of which the value can be seen in the table."""
        return {self.field, *self.any, *self.percent} - {""}

    def all(self) -> set[str]:
        """Every field that is read."""
        return self.fields() | {*self.months, self.when, self.stop_at} - {""}


class Mapping(Settings):
    """A whole mapping."""

    record: str = Field("record_id", description="the project's first field")
    missing: list[str] = Field([], description="missing data codes of the project")
    decimal: Literal[".", ","] = Field(".", description="decimal mark of the export")
    columns: dict[str, Column]

    @model_validator(mode="after")
    def _columns_of_the_table(self) -> Self:
        for name in self.columns:
            if name not in COLUMNS or name in ("patient", *SOURCES):
                raise ValueError(f"{name} is no clinical column of the table")
        return self


def read(path: Path) -> Mapping:
    """A mapping from YAML.

    Raises:
        UsageError: E_REDCAP_MAPPING.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Mapping.model_validate(_as_text(found))
    except (OSError, UnicodeDecodeError):
        raise _wrong("cannot be read") from None
    except yaml.YAMLError:
        raise _wrong("is no YAML") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "its top"
        raise _wrong(f"is wrong at {place}: {first['msg']}") from None


def _as_text(found: object) -> object:
    """Missing codes and the keys of codes as text, however YAML reads them."""
    if not isinstance(found, dict):
        return found
    made = dict(found)
    if isinstance(made.get("missing"), list):
        made["missing"] = [str(code) for code in made["missing"]]
    if isinstance(made.get("columns"), dict):
        made["columns"] = {
            name: {**column, "codes": {str(key): value for key, value in column["codes"].items()}}
            if isinstance(column, dict) and isinstance(column.get("codes"), dict)
            else column
            for name, column in made["columns"].items()
        }
    return made


def _wrong(what: str) -> UsageError:
    return UsageError(
        "E_REDCAP_MAPPING",
        f"The mapping {what}",
        "record, missing, decimal, and for each column one of field, any, percent, months with codes, take, when, event, "
        "instrument, from_event, stop_at",
        "docs/own-data.md has an example",
    )
