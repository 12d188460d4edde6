"""The sidecar: a small JSON beside every product that says what it is and what it was made from."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from promet.core.errors import IntegrityError, PrometError
from promet.core.files import digest_file, read_json, write_json

OK = "ok"
NO_LESION = (
    "no-lesion"  # a valid scan in which no intraprostatic lesion was found (2-channel CNN cannot use it)
)
QUARANTINED = "quarantined"


@dataclass
class Sidecar:
    """Record of one job.

    Attributes:
        stage: the rule's name.
        pin: hash of what the job used (core/pin.py).
        status: ``ok``, ``no-lesion`` or ``quarantined``.
        digest: SHA-256 over the products, ``None`` when there are none.
        products: file names beside the sidecar -> SHA-256.
        inputs: name of each upstream record -> its digest when it was read; likewise table, ledger and source images.
        code, reason: error code and sentence when quarantined.
        origin: the stage that quarantined the patient first.
        warnings: sentences for the report.
        values: what the stage measured (JSON scalars or lists).
        notes: how the job went (device, speed); unlike the values they are no part of the digest.
        versions: libraries used.
        seconds: wall time.
    """

    stage: str
    pin: str
    status: str = OK
    digest: str | None = None
    products: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str | None] = field(default_factory=dict)
    code: str = ""
    reason: str = ""
    origin: str = ""
    warnings: list[str] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.error: PrometError | None = (
            None  # why it is quarantined, in the process that found it; never written
        )

    @property
    def ok(self) -> bool:
        """True when the products exist and may be used."""
        return self.status == OK

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write atomically as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Sidecar:
        """Read a sidecar; a missing or broken one raises ``IntegrityError``."""
        try:
            return cls(**read_json(path))
        except FileNotFoundError as error:
            raise IntegrityError(
                "E_SIDECAR_MISSING",
                f"The record {Path(path).name} is not there",
                "the record of the stage before",
                "Run that stage first (promet run does)",
            ) from error
        except (ValueError, TypeError) as error:
            raise IntegrityError(
                "E_SIDECAR_BROKEN",
                f"The record {Path(path).name} cannot be read",
                "the JSON that promet wrote",
                "Delete it and run again",
            ) from error


def product(folder: Path, name: str, stage: str) -> Path:
    """Path of a product of a stage beside its record.

    Raises:
        IntegrityError: E_PRODUCT_BROKEN when it is not what the record says: the disk's fault, not the patient's.
    """
    path, recorded = Path(folder, name), Sidecar.read(Path(folder, f"{stage}.json")).products.get(name)
    if recorded and (not path.exists() or digest_file(path) != recorded):
        raise IntegrityError(
            "E_PRODUCT_BROKEN",
            f"{name} does not match its record {stage}.json",
            "the file that the stage wrote",
            f"Delete {stage}.json of this patient and run again",
        )
    return path
