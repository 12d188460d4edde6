"""``promet crate``: a study without its patients as a Workflow Run RO-Crate.

One folder: the workflow, the configuration it ran with, the report, what came out and the locked model, described in
ro-crate-metadata.json (RO-Crate 1.1, Workflow Run Crate 0.5). Of the table there is a digest and how many rows it has. A
file in which a pseudonym stands is left out. Same study, same bytes.
"""

from __future__ import annotations

import datetime
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from promet.config import DEFAULTS, load
from promet.core import checksums
from promet.core.environment import SOURCE, require_source
from promet.core.errors import EXIT_OK, EXIT_REFUSED, IntegrityError, UsageError
from promet.core.files import as_json, digest_file, read_json, write_text
from promet.core.sidecar import Sidecar, product
from promet.core.words import count, say
from promet.hospital import entities
from promet.study import freezing, ledger
from promet.workflow.plan import Plan

METADATA = "ro-crate-metadata.json"
# Stage -> products that go into the crate, none of them with a row per patient; the bundle goes as a whole.
RESULTS = {
    "evaluate": ("metrics.json",),
    "survive": ("survival.json",),
    "pool": ("pooled.json",),
    "tripod": ("checklist.json",),
    "report": ("report.html",),
}
# Keys of the configuration that name places on this computer: they stay in it by their last part.
PLACES = ("cohort", "registry", "results", "logs")


@dataclass
class Crate:
    """What goes in: name in the crate -> its bytes or the file to copy; what does not, and why."""

    files: dict[str, bytes | Path] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    made: list[str] = field(default_factory=list)  # results: made by the run

    def sealed(self, names: set[str]) -> None:
        """Leave out every result in which one of these names of patients stands.

        Raises:
            IntegrityError: E_CRATE_NAMES: one stands where it cannot be left out.
        """
        pattern = named(names)
        for name in ("configuration.yaml", *self.made):
            source = self.files[name]
            if not pattern.search(source if isinstance(source, bytes) else source.read_bytes()):
                continue
            if not name.startswith("results/"):
                raise IntegrityError(
                    "E_CRATE_NAMES",
                    f"A pseudonym stands in {name}",
                    "a configuration and a locked model that name nobody",
                    "Is a pseudonym a word of everyday use? Rename that patient (promet intake --renamed)",
                )
            del self.files[name]
            self.left_out[name] = "names of patients stand in it"


def named(names: set[str]) -> re.Pattern[bytes]:
    """Finds a pseudonym as a word of its own; short numbers, which any file holds, are not looked for."""
    words = sorted(name for name in names if not (name.isdecimal() and len(name) < 5))
    words = [re.escape(word) for word in words]
    return (
        re.compile(rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-])".encode()) if words else re.compile(rb"(?!)")
    )


def crate(configfiles: list[Path], out: Path, date: str) -> int:
    """Write the crate.

    Args:
        configfiles: laid over the defaults.
        out: a new folder, or one that holds a crate.
        date: of publication, YYYY-MM-DD; '' = that of the freeze, or today.

    Raises:
        UsageError: E_CRATE_LICENCE, E_CRATE_PLACE, E_CRATE_DATE, E_CRATE_EMPTY.
        IntegrityError: a product is not what its record says.
    """
    require_source()
    plan = Plan(load(configfiles), lenient=True)
    _require_place(out, plan)
    licence = plan.config["model"]["licence"]
    if not licence or not Path(licence).is_file():
        raise UsageError(
            "E_CRATE_LICENCE",
            "A crate needs a licence, and the configuration names no file with one",
            "a text file",
            "Name it with the key model.licence",
        )
    told = entities.Study(
        name=plan.study,
        title=plan.config["report"]["title"],
        authors=plan.config["model"]["authors"],
        date=_date(date, plan),
        rows=len(plan.rows),
        table=digest_file(plan.config["cohort"]),
    )
    contents = Crate()
    contents.files["LICENSE"] = Path(licence).read_bytes()
    for path in (SOURCE / "Snakefile", *sorted((SOURCE / "workflow/rules").glob("*.smk")), DEFAULTS):
        contents.files[path.relative_to(SOURCE).as_posix()] = path
    contents.files["configuration.yaml"] = _configuration(plan.config).encode()
    told.versions.update(_results(plan, contents))
    contents.sealed(_everybody(plan))
    if not any(name in contents.files for name in contents.made):
        raise UsageError(
            "E_CRATE_EMPTY",
            "The study has no result that could go into a crate",
            "the products of promet run",
            "Make them first: promet run",
        )
    with _replaced(out) as folder:
        for name, source in contents.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source if isinstance(source, bytes) else source.read_bytes())
        made = [name for name in contents.made if name in contents.files]
        write_text(folder / METADATA, as_json(entities.describe(folder, contents.files, made, told)))
        checksums.write(folder, sorted([*contents.files, METADATA]))
    for name, why in sorted(contents.left_out.items()):
        say(f"left out: {name} ({why})")
    if "results/report.html" in contents.left_out and plan.config["report"]["patient_level"]:
        say("With report.patient_level: false, and promet run, the report can go in")
    say(f"{out}: {count(len(contents.files), 'file')}. Next: promet verify {out}")
    return EXIT_OK


def _configuration(config: dict[str, Any]) -> str:
    """The whole configuration, without where things lie on this computer."""
    told = deepcopy(config) | {key: Path(config[key]).name for key in PLACES}
    shown = told["network"]["attention"]["patients"]
    if not isinstance(shown, str):  # whose attention maps the report shows
        told["network"]["attention"]["patients"] = f"{len(shown)} named"
    return yaml.safe_dump(_without_folders(told), sort_keys=True, allow_unicode=True)


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(entry) for entry in value]
    if isinstance(value, str) and re.match(r"(?:/|~|\.\.?/|[A-Za-z]:\\)", value):
        return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return value


def _results(plan: Plan, contents: Crate) -> Iterator[tuple[str, str]]:
    """Put in the products as their records name them; yields the versions that made them."""
    for stage, at in plan.jobs():
        if stage not in (*RESULTS, "bundle"):
            continue
        record = Path(plan.sidecar(stage, **at))
        if not record.exists():
            continue
        read = Sidecar.read(record)
        yield from read.versions.items()
        split = f"split-{at['split']}/" if "split" in at else ""
        for name in RESULTS.get(stage, ()):
            if name in read.products:
                place = f"results/{split}{name}"
                contents.files[place] = product(record.parent, name, stage)
                contents.made.append(place)
        if stage == "bundle" and checksums.NAME in read.products:
            if faults := checksums.compare(record.parent, (record.name,)):
                raise IntegrityError(
                    "E_CRATE_MODEL",
                    f"The locked model is damaged: {faults[0][0]} {faults[0][1]}",
                    "the files that its list names",
                    "See promet verify",
                )
            for name in (*checksums.read(record.parent), checksums.NAME):
                contents.files[f"model/{name}"] = record.parent / name
                contents.made.append(f"model/{name}")


def _everybody(plan: Plan) -> set[str]:
    """Every pseudonym of the study: of the table, of its ledger, and of whoever was waived."""
    registry, study = plan.config["registry"], plan.study
    book = ledger.ledger_path(registry, study)
    rows = ledger.read(book) if Path(book).exists() else []
    freeze = freezing.read(freezing.freeze_path(registry, study))
    return {
        *plan.rows,
        *(row.patient for row in rows),
        *freeze.get("excluded", []),
        *freeze.get("waivers", {}),
    } - {""}


def _date(given: str, plan: Plan) -> str:
    frozen = freezing.read(freezing.freeze_path(plan.config["registry"], plan.study)).get("date", "")[:10]
    try:
        return datetime.date.fromisoformat(
            given or frozen or datetime.datetime.now(datetime.UTC).date().isoformat()
        ).isoformat()
    except ValueError:
        raise UsageError("E_CRATE_DATE", "--date holds no date", "YYYY-MM-DD") from None


def _require_place(out: Path, plan: Plan) -> None:
    """A new or empty folder, or a crate; no folder of the study."""
    taken = out.exists() and (not out.is_dir() or (any(out.iterdir()) and not _replaceable(out)))
    inside = any(out.resolve().is_relative_to(Path(plan.config[key]).resolve()) for key in PLACES[1:])
    if taken or inside:
        raise UsageError(
            "E_CRATE_PLACE",
            "The crate would lie in a folder of the study"
            if inside
            else "The folder for the crate holds something else",
            "a folder that is not there yet, or a crate that is to be made again",
            "Name another",
        )


def _replaceable(out: Path) -> bool:
    """True for a crate with no file but those it lists."""
    return is_crate(out) and all(what != checksums.EXTRA for _, what in checksums.compare(out))


@contextmanager
def _replaced(out: Path) -> Iterator[Path]:
    """A new folder to write into, which then takes the place of ``out``."""
    new = out.with_name(f".{out.name}.part")
    shutil.rmtree(new, ignore_errors=True)  # of a crate that was killed
    new.mkdir(parents=True)
    try:
        yield new
        shutil.rmtree(out, ignore_errors=True)
        new.rename(out)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def is_crate(folder: Path) -> bool:
    """Does a folder hold a crate that promet wrote, or what is left of one?"""
    try:
        return (folder / METADATA).exists() or METADATA in checksums.read(folder)
    except IntegrityError:
        return False


def verify(folder: Path) -> int:
    """Compare every file of a crate with SHA256SUMS and with its own description.

    Returns:
        0, or 2 when a byte is not as it was written.
    """
    faults = checksums.compare(folder)
    written = (folder / checksums.NAME).read_bytes()
    if written != checksums.text(checksums.read(folder)).encode():
        faults.append((checksums.NAME, checksums.CHANGED))
    if not faults:
        told = {entity["@id"]: entity for entity in read_json(folder / METADATA)["@graph"]}
        for name, digest in checksums.read(folder).items():
            if name != METADATA and told.get(name, {}).get("sha256") != digest:
                faults.append((name, "not as described"))
    for name, what in faults:
        say(f"{name}: {what}")
    say(f"{count(len(checksums.read(folder)), 'file')} read, {len(faults)} damaged")
    return EXIT_REFUSED if faults else EXIT_OK
