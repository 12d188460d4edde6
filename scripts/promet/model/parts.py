"""The JSON files of a bundle: where they lie, which of their versions this promet reads, and what each must hold.

What does not fit is either from a newer promet (``E_MODEL_VERSION``) or damaged (``E_MODEL_BROKEN``), never a guess.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from promet.core.errors import IntegrityError
from promet.core.files import read_json
from promet.model.contract import keys
from promet.model.settings import Preprocessing
from promet.study.forms.tables import INPUTS, MULTIMODAL

AGAIN = "Copy the model again"


class Part(BaseModel):
    """A JSON object of which some keys are needed and others may be there."""

    model_config = ConfigDict(extra="allow", strict=True)


class Strict(Part):
    """One whose every key is a rule: a key that this promet does not know is one that it would not obey."""

    model_config = ConfigDict(extra="forbid", strict=True)


Count = Annotated[int, Field(ge=0)]
Pair = Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]
Triple = Annotated[list[Annotated[FiniteFloat, Field(gt=0)]], Field(min_length=3, max_length=3)]


class VoxelSizes(Strict):
    """Voxel sizes (x, y, z) of training in mm, and how far beyond them a PET is taken."""

    low: Triple
    high: Triple
    factor: Annotated[FiniteFloat, Field(ge=1)]
    finer: Annotated[FiniteFloat, Field(ge=1)] | None = None


class Pet(Strict):
    """The PET of the contract."""

    modality: str
    unit: str
    voxel_mm: VoxelSizes | None
    half_lives_s: list[FiniteFloat]
    tracers: dict[str, Count] | None = None


class Lesions(Strict):
    """Where lesion masks may come from."""

    rule: Literal["given", "watershed", "either"]
    training: dict[str, Count]


class Key(Strict):
    """One clinical key."""

    meaning: str
    expected: str
    range: Pair | None = None
    whole: bool = False


class Network(Strict):
    """What the network sees."""

    channels: list[str]
    shape_zyx: list[int]
    spacing_zyx_mm: list[FiniteFloat]
    dtype: str


class Learnt(Strict):
    """What the probability is a probability of, where it is not the paper's metastases on the scan."""

    kind: Literal["binary", "by_horizon", "time_to_event"]
    columns: list[str]
    called: str
    horizon_months: Annotated[FiniteFloat, Field(gt=0)] | None = None
    competing: str | None = None
    edges_months: list[FiniteFloat] | None = None
    loss: Literal["hazard", "cox"] | None = None


class Contract(Strict):
    """configs/contract.json."""

    schema_: int = Field(alias="schema")
    pet: Pet
    prostate: str
    prostate_masks: dict[str, Count]
    lesions: Lesions
    suv_peak: dict[str, Count]
    clinical: dict[str, Key]
    network: Network
    imaging: dict[str, dict[str, Any]]
    stages: dict[str, int]
    versions: dict[str, str]
    floored: dict[str, Any] | None = None
    outcome: Learnt | None = None


class Training(Part):
    """configs/training.json."""

    study: str
    freeze: str
    fit: str
    patients: Count
    prevalence: FiniteFloat


class Density(Part):
    """One input of the fusion."""

    seen: list[Count]
    mean: Pair | None
    variance: Pair | None
    dropped: str

    @model_validator(mode="after")
    def _whole(self) -> Density:
        known = self.mean is not None and self.variance is not None and min(self.variance) > 0
        if not (self.dropped or known):
            raise ValueError("neither a density nor a reason why there is none")
        return self


class Fitted(Part):
    """One naive Bayes model."""

    prior: Annotated[list[Annotated[FiniteFloat, Field(gt=0, lt=1)]], Field(min_length=2, max_length=2)]
    features: dict[str, Density]
    order: Annotated[list[str], Field(min_length=1)]
    var_smoothing: FiniteFloat
    epsilon: FiniteFloat
    warnings: list[str]

    @model_validator(mode="after")
    def _each(self) -> Fitted:
        if not set(self.order) <= set(self.features):
            raise ValueError("an input without an entry")
        return self


class Fusion(Part):
    """models/naive_bayes.json."""

    models: dict[str, Fitted]
    log: list[str]

    @model_validator(mode="after")
    def _main(self) -> Fusion:
        if MULTIMODAL not in self.models:
            raise ValueError(f"no model {MULTIMODAL}")
        return self


class Cut(Part):
    """One cut of the score, into one group more than it has thresholds."""

    name: str
    thresholds: Annotated[list[FiniteFloat], Field(min_length=1)]
    includes: Literal["upper", "lower"]
    groups: list[str]
    origin: str
    patients: Count

    @model_validator(mode="after")
    def _ordered(self) -> Cut:
        if sorted(self.thresholds) != self.thresholds or len(self.groups) != len(self.thresholds) + 1:
            raise ValueError("thresholds out of order, or not one group more than thresholds")
        return self


class Thresholds(Part):
    """models/thresholds.json."""

    cuts: list[Cut]
    absent: list[str]


class Spread(Part):
    """Mean and standard deviation of one input or image measure."""

    n: Count
    mean: FiniteFloat
    sd: Annotated[FiniteFloat, Field(gt=0)]
    log: bool


class Distances(Part):
    """Distances of the fitted patients."""

    quantiles: dict[str, FiniteFloat]


class Distribution(Part):
    """models/distribution.json."""

    inputs: dict[str, Spread | None]
    image: dict[str, Spread | None]
    distance: Distances


class Calibration(Part):
    """Calibration of one model."""

    n: Count
    mean_probability: FiniteFloat | None
    observed: FiniteFloat | None
    expected_observed: dict[str, FiniteFloat | None]
    slope: dict[str, FiniteFloat | None]


class Section(Part):
    """What was found in one part of the patients."""

    calibration: dict[str, Calibration]


class Metrics(Part):
    """docs/metrics.json; ``primary``: the section of what is learnt."""

    sections: dict[str, Section]
    primary: str = "synchronous"

    @model_validator(mode="after")
    def _judged(self) -> Metrics:
        if self.primary not in self.sections:
            raise ValueError(f"no section {self.primary}")
        return self


# part -> file, versions of its format that are read, and its form
FILES: dict[str, tuple[str, tuple[int, ...], type[Part]]] = {
    "contract": ("configs/contract.json", (1, 2), Contract),
    "training": ("configs/training.json", (1,), Training),
    "fusion": ("models/naive_bayes.json", (1,), Fusion),
    "thresholds": ("models/thresholds.json", (1,), Thresholds),
    "distribution": ("models/distribution.json", (1, 2), Distribution),
    "metrics": ("docs/metrics.json", (1,), Metrics),
}


def read(folder: Path, names: dict[str, tuple[str, tuple[int, ...], type[Part]]] = FILES) -> dict[str, Any]:
    """The parts of a bundle as they stand in its files.

    Raises:
        IntegrityError: E_MODEL_VERSION where a file is of a newer promet, E_MODEL_BROKEN where it is damaged.
    """
    found = {part: _json(Path(folder) / name, name) for part, (name, _, _) in names.items()}
    author = _author(found.get("contract"))
    for part, (name, known, _) in names.items():
        _require_schema(name, found[part], known, author)
    for part, (name, _, form) in names.items():
        try:
            form.model_validate(found[part])
        except ValidationError as error:
            raise misfit(name, error, found["contract"]) from None
    try:
        imaging = Preprocessing.model_validate(found["contract"]["imaging"])
    except ValidationError as error:
        raise misfit(names["contract"][0], error, found["contract"]) from None
    if set(names) >= set(FILES):
        _require_one_model(found, imaging)
    return found


def _require_one_model(found: dict[str, Any], imaging: Preprocessing) -> None:
    """Refuse parts that are each right and not of one model: an input that another part does not know would count for nothing.

    Raises:
        IntegrityError: E_MODEL_VERSION, an input that this promet does not know; E_MODEL_BROKEN.
    """
    agreed, fusion = found["contract"], found["fusion"]
    fitted = {name for model in fusion["models"].values() for name in model["order"]}
    for name in sorted(fitted - set(INPUTS)):
        raise unknown_value(FILES["fusion"][0], f"There is no input of this name: {name[:40]}", agreed)
    network, main = agreed["network"], set(fusion["models"][MULTIMODAL]["order"])
    checks = (
        ("contract", "clinical", set(keys(fitted)) == set(agreed["clinical"])),
        ("contract", "network", network["shape_zyx"] == list(imaging.crop.shape)),
        ("contract", "network", network["spacing_zyx_mm"] == list(imaging.crop.spacing_mm)),
        ("fusion", "log", set(fusion["log"]) <= set(INPUTS)),
        ("distribution", "inputs", main == set(found["distribution"]["inputs"])),
    )
    for part, place, right in checks:
        if not right:
            raise broken(FILES[part][0], f"{place}, which does not belong to the other files")


def read_one(
    folder: Path, name: str, known: tuple[int, ...], form: type[Part], contract: dict[str, Any]
) -> dict[str, Any]:
    """Another JSON file of a bundle, as ``read`` reads those that every bundle has.

    Raises:
        IntegrityError: E_MODEL_VERSION, E_MODEL_BROKEN.
    """
    content = _json(folder / name, name)
    _require_schema(name, content, known, _author(contract))
    try:
        form.model_validate(content)
    except ValidationError as error:
        raise misfit(name, error, contract) from None
    return content


def _require_schema(name: str, content: dict[str, Any], known: tuple[int, ...], author: str) -> None:
    number = content.get("schema")
    if isinstance(number, bool) or not isinstance(number, int):
        raise broken(name, "schema")
    if number not in known:
        raise IntegrityError(
            "E_MODEL_VERSION",
            f"{name} has schema {number}, written by promet {author}; promet {version('promet')} here reads "
            f"{' and '.join(map(str, known))}",
            "a promet that knows the files of the model",
            "Install the version that locked the model beside this one",
        )


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError, RecursionError):
        raise broken(name, "the file itself") from None
    if not isinstance(content, dict):
        raise broken(name, "the file itself")
    return content


def _author(contract: Any) -> str:
    versions = contract.get("versions") if isinstance(contract, dict) else None
    return str(versions.get("promet", "unknown"))[:20] if isinstance(versions, dict) else "unknown"


def misfit(name: str, error: ValidationError, contract: Any) -> IntegrityError:
    """What a file that does not have its form is: of a newer promet, or damaged."""
    author = _author(contract)
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    unknown = [_place(fault) for fault in faults if fault["type"] == "extra_forbidden"]
    if unknown:
        return unknown_key(name, unknown[0], author)
    return broken(name, _place(faults[0]))


def _place(fault: Any) -> str:
    return ".".join(str(step) for step in fault["loc"])[:80] or "its whole"


def unknown_key(name: str, key: str, author: str) -> IntegrityError:
    """A rule that this promet does not know."""
    return IntegrityError(
        "E_MODEL_VERSION",
        f"{name} holds the key {key}, written by promet {author}; promet {version('promet')} here does not know it",
        "a promet that knows every rule of the model",
        "Install the version that locked the model beside this one",
    )


def unknown_value(name: str, found: str, contract: Any) -> IntegrityError:
    """A value that this promet does not know; ``found``: a sentence."""
    return IntegrityError(
        "E_MODEL_VERSION",
        f"{name}, written by promet {_author(contract)}: {found}; here is promet {version('promet')}",
        "a promet that knows every rule of the model",
        "Install the version that locked the model beside this one",
    )


def broken(name: str, place: str) -> IntegrityError:
    """A file that holds something else than it must."""
    return IntegrityError(
        "E_MODEL_BROKEN",
        f"The model is damaged: {name} is missing or wrong at {place}",
        "the file as promet wrote it",
        AGAIN,
    )
