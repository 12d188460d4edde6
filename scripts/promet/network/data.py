"""Members of the fit set and their tensors.

Neither pandas nor scikit-learn: a training job starts in the time torch takes.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from promet.core.errors import IntegrityError, UsageError
from promet.core.files import atomic, read_json
from promet.core.pin import pin as make_pin
from promet.core.words import count
from promet.study.outcome import LEAST

TRAINING, VALIDATION = "training", "validation"
PARTS = (TRAINING, VALIDATION)


@dataclass(frozen=True, order=True)
class Member:
    """A patient of the fit set: part, label 0 or 1, SHA-256 of tensor.npy; the name of the assignment, if it was another one."""

    patient: str
    part: str
    label: int
    tensor_digest: str
    first: str = ""

    @property
    def place(self) -> tuple[str | int | float, ...]:
        """What the digest and the order of the fit set are made of: a new name changes neither."""
        return self.first or self.patient, self.part, self.label, self.tensor_digest


@dataclass(frozen=True, order=True)
class Followed(Member):
    """A member of whom a time to an event is learnt: months, and 0 = left without, 1 = the event, 2 = a competing one.

    The label is the status at the horizon: 1 with, 0 known without, -1 unknown.
    """

    time: float = 0.0
    event: int = 0

    @property
    def place(self) -> tuple[str | int | float, ...]:
        return *super().place, self.time, self.event


def fit_digest(members: list[Member]) -> str:
    """Digest of who is trained on, with which label, in which part and from which bytes."""
    return make_pin(sorted(member.place for member in members))


def require_both_labels(members: list[Member], outcome: str = "the outcome") -> None:
    """Refuse a part without both labels: neither the loss's weight nor the AUC exists there. Of a time to an event it takes two of
    each, known at the horizon.

    Raises:
        UsageError: naming the part and its counts.
    """
    least = LEAST if members and isinstance(members[0], Followed) else 1
    for part in PARTS:
        labels = [member.label for member in members if member.part == part]
        if min(labels.count(0), labels.count(1)) < least:
            raise UsageError(
                "E_FIT_LABELS",
                f"The {part} part has {count(labels.count(1), 'patient')} with and {labels.count(0)} without {outcome}",
                f"at least {('one', 'two')[least - 1]} of each",
                "Add patients, or look in the excluded ones for the reason",
            )


def write_table(path: Path, columns: dict[str, list[Any]], types: dict[str, str]) -> Path:
    """Write a Parquet table atomically; ``types`` gives the order of the columns and their Arrow types."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in types.items()])
    with atomic(path) as temporary:
        parquet.write_table(pa.table({name: columns[name] for name in types}, schema=schema), temporary)
    return path


def read_table(path: Path, columns: list[str] | None = None) -> dict[str, list[Any]]:
    """Columns of a Parquet table as lists."""
    from pyarrow import parquet

    return parquet.read_table(path, columns=columns).to_pydict()


MEMBER_TYPES = {"patient": "string", "part": "string", "label": "int64", "tensor_digest": "string"}
FOLLOWED_TYPES = MEMBER_TYPES | {"time": "float64", "event": "int64"}


def write_members(path: Path, members: list[Member]) -> Path:
    """Write members.parquet, sorted by the names of the assignment; column ``first`` only when somebody was renamed, ``time`` and
    ``event`` only where they are learnt."""
    rows = [asdict(member) for member in sorted(members, key=lambda member: member.place)]
    known = FOLLOWED_TYPES if isinstance(members[0], Followed) else MEMBER_TYPES
    types = known | ({"first": "string"} if any(member.first for member in members) else {})
    return write_table(path, {name: [row[name] for row in rows] for name in types}, types)


def read_members(fit: Path) -> tuple[str, list[Member]]:
    """Digest and members of a fit set.

    Args:
        fit: fit.json; members.parquet lies beside it.

    Raises:
        IntegrityError: the members are not those of the digest.
    """
    digest = read_json(fit)["digest"]
    columns = read_table(Path(fit).with_name("members.parquet"))
    kind = Followed if "event" in columns else Member
    members = [kind(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)]
    if fit_digest(members) != digest:
        raise IntegrityError(
            "E_FIT_DIGEST",
            "members.parquet does not match the digest in fit.json",
            "both from one run of promet network dataset",
            "Run that stage again",
        )
    return digest, members


def load_tensors(patients: Path, wanted: Iterable[tuple[str, str]]) -> np.ndarray:
    """Tensors of patients in the order given.

    Args:
        patients: folder that holds ``<patient>/tensor.npy``.
        wanted: (patient, SHA-256 of the file).

    Returns:
        float32 (n, 2, z, y, x): PET in [0, 1], lesion map.

    Raises:
        IntegrityError: a file is absent, has other bytes than recorded, or another shape than the others.
    """
    tensors: list[np.ndarray] = []
    for patient, digest in wanted:
        path = Path(patients) / patient / "tensor.npy"
        content = path.read_bytes() if path.exists() else b""
        if hashlib.sha256(content).hexdigest() != digest:
            raise IntegrityError(
                "E_TENSOR_DIGEST",
                f"tensor.npy of patient {patient} is {'not the recorded one' if content else 'missing'}",
                "the bytes whose digest stands in the fit set",
                "Run promet verify; it names the record to delete, then promet run makes it again",
            )
        tensor = np.load(io.BytesIO(content), allow_pickle=False)
        if tensor.dtype != np.float32 or tensor.ndim != 4 or (tensors and tensor.shape != tensors[0].shape):
            raise IntegrityError(
                "E_TENSOR_SHAPE",
                f"tensor.npy of patient {patient} is {tensor.dtype} of shape {tensor.shape}",
                f"float32 of shape {tensors[0].shape if tensors else '(2, z, y, x)'}",
                "Normalise all patients with one configuration",
            )
        tensors.append(tensor)
    return np.stack(tensors)
