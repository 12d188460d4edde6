"""Who is in a study and in which part: what its table, the registry, the ledger and the freeze say together."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Protocol

from promet.study import freezing, ledger, parts, registry, table
from promet.study.ledger import FIT
from promet.study.outcome import Outcome, given
from promet.study.renamed import first_names
from promet.workflow.buckets import with_tracers


class Configuration(Protocol):
    """The whole validated configuration (promet.config, which knows every room), as far as workflow asks for it."""

    @property
    def study(self) -> str: ...
    @property
    def registry(self) -> str: ...
    @property
    def results(self) -> str: ...
    @property
    def outcome(self) -> Outcome: ...
    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


class Cohort:
    """The patients of one study.

    Args:
        settings: the validated configuration.
    """

    def __init__(self, settings: Configuration) -> None:
        self.config = config = settings.model_dump(mode="json")
        self.study, self.cohort, self.results = config["study"], config["cohort"], config["results"]
        self.images = str(registry.images_path(config["registry"]))
        self.ledger = str(ledger.ledger_path(config["registry"], self.study))
        self.freeze = str(freezing.freeze_path(config["registry"], self.study))
        self.outcome = settings.outcome
        self.rows = table.by_patient(self.cohort, self.outcome.extra)
        self.named = frozenset(self.rows)  # everyone in the table
        tracers = {name: row["tracer"] for name, row in self.rows.items()}
        self._images = with_tracers(registry.read(self.images), tracers)
        self.entries = ledger.read(self.ledger)
        self._first = first_names(self.ledger)
        self.frozen = freezing.freeze_name(config["registry"], self.study)
        self.waived = freezing.waivers(config["registry"], self.study)
        self.excluded = freezing.excluded(self.ledger)

    def leave_out_unknown(self) -> None:
        """Go on without the patients who are not in the registry."""
        self.rows = {name: row for name, row in self.rows.items() if name in self._images}
        self.__dict__.pop("_parts", None)  # to be read again, without them

    @property
    def patients(self) -> list[str]:
        """Every patient of the table, sorted."""
        return list(self.rows)

    @property
    def splits(self) -> list[str]:
        """Split numbers as they stand in paths."""
        return [f"{number:02d}" for number in range(self.config["split"]["repeats"])]

    @cached_property
    def _parts(self) -> dict[str, dict[str, str]]:
        found = parts.current(self.entries, self.rows, self.excluded, self.outcome)
        return {split: found.get(int(split), {}) for split in self.splits}

    def part(self, split: str, patient: str) -> str:
        """Part of a patient in a split; who is not in the ledger is prospective."""
        return self._parts[split].get(patient, ledger.PROSPECTIVE)

    def fit_members(self, split: str) -> list[str]:
        """Patients of the training and validation parts, sorted by the names under which they were assigned."""
        found = (name for name, part in self._parts[split].items() if part in FIT)
        return sorted(found, key=lambda name: self._first.get(name, name))

    @cached_property
    def left_fit(self) -> set[str]:
        """Whom the study is fitted on and who has no row, role or label any more."""
        return set(parts.left_fit(self.entries, list(self.rows.values()), self.outcome)) - self.excluded

    @property
    def sealed(self) -> bool:
        """True when a waiver keeps a frozen model as it is: nothing may fit it again (``promet waive``)."""
        return bool(self.waived)

    @cached_property
    def unregistered(self) -> list[str]:
        """Patients of the table whom intake has not (wholly) seen, sorted."""
        return sorted(
            name
            for name, row in self.rows.items()
            if any(row[source] and source not in self._images.get(name, {}) for source in table.SOURCES)
            or (
                (
                    row["role"] == "metachronous"
                    or (row["role"] == "development" and given(row, self.outcome.learn))
                )
                and any(name not in self._parts[split] for split in self.splits)
            )
        )

    def lacks_a_source(self, patient: str) -> bool:
        """True when the table names a source that was not there at intake."""
        return any(row["digest"] == registry.MISSING for row in self.registered(patient).values())

    def registered(self, patient: str) -> dict[str, dict[str, str]]:
        """The registry's rows of a patient, by source."""
        return self._images.get(patient, {})
