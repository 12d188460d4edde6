"""The Parquet tables that two rooms share: their columns, declared once; who makes one and who reads one goes through its form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, get_args

from promet.core.errors import IntegrityError
from promet.core.files import atomic

if TYPE_CHECKING:
    import pandas as pd

# What ``measure`` finds in every patient; the table has these columns also when nobody has a value.
MEASURES = (
    "suv_max",
    "suv_mean",
    "suv_peak",
    "suv_peak_local",
    "total_lesion_uptake",
    "organ_suv_max",
    "organ_suv_mean",
    "organ_ml",
    "lesion_ml",
    "lesion_count",
    "primary_surrogate",
    "psma_expression_surrogate",
)
# What the fusion takes, and its model that is judged.
Input = Literal[
    "cnn_score",
    "psa",
    "grade_group",
    "positive_cores_percent",
    "suv_peak",
    "primary_score",
    "psma_expression",
]
INPUTS: tuple[str, ...] = get_args(Input)
MULTIMODAL = "multimodal"


@dataclass(frozen=True)
class Form:
    """One table; further columns are numbers.

    Args:
        file: its name.
        text: columns of text, none of them missing.
        numbers: columns of numbers that are always there, NaN for missing.
    """

    file: str
    text: tuple[str, ...]
    numbers: tuple[str, ...]

    def write(self, path: str | Path, table: pd.DataFrame) -> None:
        """Write the table whole or not at all.

        Raises:
            IntegrityError: E_PRODUCT_FORM, it has not the form: the stage is wrong, and nothing is written.
        """
        with atomic(path) as temporary:
            table.to_parquet(temporary, index=False)
            self._check(temporary)

    def read(self, path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The table, or these columns of it.

        Raises:
            IntegrityError: E_PRODUCT_FORM, it has another form: another promet wrote it, or a hand.
        """
        import pandas as pd

        self._check(path, columns)
        return pd.read_parquet(path, columns=None if columns is None else list(columns))

    def lists(self, path: str | Path, columns: Sequence[str]) -> dict[str, list[Any]]:
        """These columns as lists, without pandas; otherwise as ``read``."""
        from pyarrow import parquet

        self._check(path, columns)
        return parquet.read_table(path, columns=list(columns)).to_pydict()

    def _check(self, path: str | Path, columns: Sequence[str] | None = None) -> None:
        from pyarrow import ArrowException, parquet, types

        try:
            kinds = {field.name: field.type for field in parquet.read_schema(path)}
        except ArrowException:
            self._refuse("its first bytes")
        for name in columns or dict.fromkeys((*self.text, *self.numbers, *kinds)):
            if name not in kinds:
                self._refuse(f"the column {name}")
            kind = kinds[name]
            text = types.is_string(kind) or types.is_large_string(kind)
            number = types.is_floating(kind) or types.is_integer(kind)
            # A table without rows does not know what its texts are.
            if not (text or types.is_null(kind) if name in self.text else number):
                self._refuse(f"the column {name}")

    def _refuse(self, place: str) -> NoReturn:
        raise IntegrityError(
            "E_PRODUCT_FORM",
            f"{self.file} has not the form that this promet writes, at {place}",
            "the file as this promet's stage wrote it",
            "Delete the record beside it and run again",
        )


# gather, for every room behind the images; inside_fraction: of the prostate in the cuboid.
PATIENTS = Form(
    "patients.parquet",
    ("patient", "status", "code", "reason", "origin", "tensor_digest"),
    (*MEASURES, "inside_fraction"),
)
# score, for the fusion.
SCORES = Form("scores.parquet", ("patient", "tensor_digest"), ("cnn_score",))
# fuse, for evaluation, report and locked model; NAME and NAME_probability of further models follow.
PREDICTIONS = Form(
    "predictions.parquet",
    ("patient", "part", "suv_peak_source"),
    ("label", *INPUTS, MULTIMODAL, f"{MULTIMODAL}_probability"),
)
FORMS = {form.file: form for form in (PATIENTS, SCORES, PREDICTIONS)}
