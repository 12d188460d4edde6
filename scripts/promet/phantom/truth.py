"""What is true of a synthetic patient: latent aggressiveness, outcome, clinic, anatomy, lesions, acquisition.

Everything is drawn from streams that depend on (seed, role, index) only, so that a cohort can grow and the
patients who are there stay as they are. All numbers are invented; they only have plausible sizes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from promet.phantom.follow_up import FollowUp, draw

ROLES = {"development": "dev", "metachronous": "met", "": "pro"}  # role -> prefix of the pseudonym
TRACER, HALF_LIFE_S = "18F-DCFPyL", 6586.2
HORIZON_MONTHS = 48.0  # progression counts within four years
TIMINGS = ("datetime", "time-only", "midnight", "late-series", "midnight-time-only")
FORMS = ("nifti-pet", "nifti-ct", "seg", "rtstruct")
GLEASON = {
    1: ((3, 3),),
    2: ((3, 4),),
    3: ((4, 3),),
    4: ((4, 4), (4, 4), (4, 4), (3, 5), (5, 3)),
    5: ((4, 5), (4, 5), (5, 4), (5, 5)),
}
STAGES = ("T1c", "T2a", "T2b", "T2c", "T3a", "T3b", "T4")
BIOPSY = ("grade_group", "gleason_primary", "gleason_secondary", "positive_cores_percent")
_STREAMS = (
    "outcome",
    "clinic",
    "anatomy",
    "lesions",
    "acquisition",
    "pet-noise",
    "ct-noise",
    "missing",
    "texture",
    "files",
    "follow-up",
)

Vector = tuple[float, float, float]  # mm, (z, y, x) as the arrays; +z head, +y back, +x left


@dataclass(frozen=True)
class Bump:
    """A dent or hump of a surface: relative height ``size`` times cos(waves * direction . axis + phase)."""

    size: float
    waves: float
    phase: float
    axis: Vector


@dataclass(frozen=True)
class Lesion:
    """A lesion: centre relative to the gland's, radii in mm, mean SUV, roughness of its texture (0 = even)."""

    centre: Vector
    radii: Vector
    suv: float
    texture: float
    bumps: tuple[Bump, ...]


@dataclass(frozen=True)
class Anatomy:
    """Shape and uptake of the pelvis: lengths in mm, uptake in SUV."""

    shift: Vector  # how the patient lies in the field of view
    origin: Vector  # scanner coordinates of the field's centre
    body: tuple[float, float]  # half depth, half width
    fat_mm: float
    gland_centre: Vector
    gland_radii: Vector
    gland_bumps: tuple[Bump, ...]
    bladder_radii: Vector
    bowel: tuple[tuple[Vector, Vector, float], ...]
    suv: dict[str, float]


@dataclass(frozen=True)
class Acquisition:
    """Patient size and timing of the scan."""

    weight_kg: float
    height_m: float
    dose_bq: float
    uptake_s: int
    clock_s: int  # time of day of the decay reference
    day: int  # days after the first planted study date
    timing: str


@dataclass(frozen=True)
class Truth:
    """One synthetic patient, complete; ``missing`` names the columns that the cohort table leaves empty."""

    seed: int
    index: int
    role: str
    effect: float
    aggressiveness: float
    synchronous: int | None
    progression: int | None
    months: float | None
    event_months: float | None
    visible: bool
    site: str
    clinic: dict[str, Any]
    missing: frozenset[str]
    anatomy: Anatomy
    lesions: tuple[Lesion, ...]
    acquisition: Acquisition
    prostate_form: str
    lesion_form: str = field(default="")  # "" = left to the watershed
    follow_up: FollowUp | None = None

    @property
    def patient(self) -> str:
        """The pseudonym."""
        return f"{ROLES[self.role]}{self.index + 1:03d}"

    @property
    def number(self) -> int:
        """A number unique within a cohort, for planted identifiers."""
        return 10_000 * (list(ROLES).index(self.role) + 1) + self.index + 1

    @cached_property
    def drive(self) -> float:
        """What the pictures and the clinic see of the aggressiveness; 0 in a null cohort."""
        return float(np.clip(self.effect * self.aggressiveness, -3, 3))

    def stream(self, name: str) -> np.random.Generator:
        """The patient's own random numbers for one purpose."""
        return _stream(self.seed, self.role, self.index, name)

    def row(self) -> dict[str, str]:
        """The clinical and outcome cells of the cohort table."""
        cells = {name: "" if name in self.missing else _cell(value) for name, value in self.clinic.items()}
        return {
            "patient": self.patient,
            "role": self.role,
            "site": self.site,
            "tracer": TRACER,
            "synchronous_metastasis": _cell(self.synchronous),
            "progression": _cell(self.progression),
            "months": _cell(self.months),
            **({"died": _cell(self.follow_up.died)} if self.follow_up else {}),
            **cells,
        }


def patient_truth(seed: int, index: int, role: str, effect: float, followed: bool = False) -> Truth:
    """Draw one patient.

    Args:
        seed: seed of the cohort.
        index: number within the role, from 0.
        role: ``development``, ``metachronous`` or '' (prospective).
        effect: 0 = nothing depends on the aggressiveness (null cohort), 1 = a clear signal.
        followed: development patients are followed as well, and follow-up is what comes first of progression, death, leaving and
            the end of the study (``phantom.follow_up``); the images stay as they are.

    Development patients are sampled as in a case-control study: the class follows ``_class``, the aggressiveness
    a ~ N(0, 1) is drawn again until Bernoulli(logistic(3 effect a - 0.1)) gives that class. Metachronous patients
    likewise, progression within 48 months from a Weibull time (shape 1.3) whose hazard is exp(1.5 effect a).
    """
    rng = _stream(seed, role, index, "outcome")
    synchronous = progression = months = event = None
    if role == "development":
        synchronous = _class(seed, role, index)
        while True:
            a = rng.standard_normal()
            if (rng.random() < _logistic(3 * effect * a - 0.1)) == bool(synchronous):
                break
    elif role == "metachronous":
        synchronous, progression = 0, _class(seed, role, index)
        while True:
            a = rng.standard_normal()
            event = 75 * (rng.exponential() / np.exp(1.5 * effect * a)) ** (1 / 1.3)
            follow_up = rng.uniform(HORIZON_MONTHS, 84)
            if (1 <= event < HORIZON_MONTHS) if progression else (event > follow_up):
                break
        months, event = round(float(event if progression else follow_up), 1), float(event)
    else:
        a = rng.standard_normal()
    seen = None
    if followed and role:
        own = _stream(seed, role, index, "follow-up")
        a = own.standard_normal() if role == "metachronous" else a  # not chosen by what will happen
        seen = draw(own, effect, a)
        progression, months, event = seen.progressed, seen.months, seen.progression

    drive = float(np.clip(effect * a, -3, 3))
    visible = not (role == "development" and index % 18 == 7)
    anatomy = _anatomy(_stream(seed, role, index, "anatomy"))
    lesions = _lesions(_stream(seed, role, index, "lesions"), drive, anatomy) if visible else ()
    rng = _stream(seed, role, index, "clinic")
    clinic = _clinic(rng, drive, lesions, anatomy)
    if role != "metachronous":
        clinic["ucla_psma_risk"] = None
    site = f"site-{rng.integers(1, 4)}"
    form = FORMS[index % len(FORMS)]
    return Truth(
        seed=seed,
        index=index,
        role=role,
        effect=effect,
        aggressiveness=float(a),
        synchronous=synchronous,
        progression=progression,
        months=months,
        event_months=event,
        visible=visible,
        site=site,
        clinic=clinic,
        missing=_missing(_stream(seed, role, index, "missing"), role, synchronous),
        anatomy=anatomy,
        lesions=lesions,
        acquisition=_acquisition(_stream(seed, role, index, "acquisition"), index),
        prostate_form=form,
        lesion_form=form if visible and index % 3 != 2 else "",
        follow_up=seen,
    )


def _stream(seed: int, role: str, index: int, name: str) -> np.random.Generator:
    return np.random.default_rng(
        np.random.SeedSequence([seed, list(ROLES).index(role), index, _STREAMS.index(name)])
    )


def _class(seed: int, role: str, index: int) -> int:
    """Class of patient ``index``: each pair of patients holds both classes in random order, but one pair of twelve
    is negative twice: 11 of 24 positive (46 %; the paper has 45 of 94). So two patients suffice for both classes.
    """
    rng = np.random.default_rng(np.random.SeedSequence([seed, list(ROLES).index(role), index // 24, 10_000]))
    first = rng.integers(0, 2, 12)
    classes = np.stack([first, 1 - first], axis=1)
    classes[rng.integers(1, 12)] = 0
    return int(classes.ravel()[index % 24])


def _logistic(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _log_normal(rng: np.random.Generator, median: float, spread: float, low: float, high: float) -> float:
    return float(np.clip(median * np.exp(spread * rng.standard_normal()), low, high))


def _direction(rng: np.random.Generator) -> Vector:
    v = rng.standard_normal(3)
    return tuple(float(c) for c in v / np.linalg.norm(v))


def _bumps(rng: np.random.Generator, size: float, count: int) -> tuple[Bump, ...]:
    return tuple(
        Bump(
            size * float(rng.uniform(0.4, 1)) / count,
            float(rng.uniform(2, 6)),
            float(rng.uniform(0, 2 * np.pi)),
            _direction(rng),
        )
        for _ in range(count)
    )


def _anatomy(rng: np.random.Generator) -> Anatomy:
    scale = rng.uniform(0.86, 1.2)
    radii = tuple(float(scale * r * rng.uniform(0.94, 1.06)) for r in (20.0, 17.5, 23.5))
    bowel = tuple(
        (
            (float(rng.uniform(30, 62)), float(rng.uniform(-55, 5)), float(rng.uniform(-75, 75))),
            tuple(float(r) for r in rng.uniform(9, 20, 3)),
            float(rng.uniform(0.8, 2.6)),
        )
        for _ in range(6)
    )
    suv = {
        "muscle": rng.uniform(0.5, 0.7),
        "fat": rng.uniform(0.2, 0.3),
        "bone": rng.uniform(0.35, 0.55),
        "blood": rng.uniform(1.2, 1.8),
        "rectum": rng.uniform(0.7, 1.2),
        "bladder": _log_normal(rng, 32, 0.4, 14, 80),
        "ureter": rng.uniform(6, 18),
        "gland": _log_normal(rng, 1.9, 0.15, 1.4, 2.5),
        "liver": rng.uniform(4.5, 6.5),
        "parotid": rng.uniform(12, 18),
    }
    return Anatomy(
        shift=(float(rng.uniform(-3, 3)), float(rng.uniform(-6, 6)), float(rng.uniform(-6, 6))),
        origin=(
            round(float(rng.uniform(-900, -700)), 2),
            round(float(rng.uniform(-190, -150)), 2),
            round(float(rng.uniform(-9, 9)), 2),
        ),
        body=(float(rng.uniform(95, 108)), float(rng.uniform(142, 156))),
        fat_mm=float(rng.uniform(10, 20)),
        gland_centre=(
            float(-22 + rng.uniform(-3, 3)),
            float(12 + rng.uniform(-4, 4)),
            float(rng.uniform(-3, 3)),
        ),
        gland_radii=radii,
        gland_bumps=_bumps(rng, 0.08, 3),
        bladder_radii=(float(rng.uniform(15, 24)), float(rng.uniform(22, 30)), float(rng.uniform(28, 42))),
        bowel=bowel,
        suv={name: round(float(value), 4) for name, value in suv.items()},
    )


def _lesions(rng: np.random.Generator, drive: float, anatomy: Anatomy) -> tuple[Lesion, ...]:
    """Number, size, roughness, texture, uptake and nearness to the margin rise with ``drive``."""
    count = 1 + min(int(rng.poisson(0.45 * np.exp(0.8 * drive))), 4)
    suv = _log_normal(rng, 11 * np.exp(0.3 * drive), 0.35, 7, 45)
    texture = 0.6 * _logistic(1.2 * drive + 0.5 * rng.standard_normal())
    rough = 0.7 * _logistic(1.2 * drive + 0.5 * rng.standard_normal())
    lesions = []
    for i in range(count):
        radius = (
            _log_normal(rng, 7.5 * np.exp(0.24 * drive), 0.15, 5.5, 15)
            if i == 0
            else float(rng.uniform(5.5, 8.5))
        )
        # Mostly in the back half (peripheral zone), either side; nearer to the margin with drive.
        angle = rng.normal(0, 0.75) if rng.random() < 0.75 else rng.uniform(-np.pi, np.pi)
        outward = float(np.clip(0.45 + 0.12 * drive + 0.1 * rng.standard_normal(), 0.1, 0.72))
        away = np.array([rng.uniform(-0.55, 0.55), np.cos(angle), np.sin(angle)])
        away *= outward / np.linalg.norm(away)
        lesions.append(
            Lesion(
                centre=tuple(float(c) for c in away * np.array(anatomy.gland_radii)),
                radii=tuple(float(radius * s) for s in rng.uniform(0.85, 1.15, 3)),
                suv=suv if i == 0 else max(suv * float(rng.uniform(0.55, 1)), 6.0),
                texture=texture,
                bumps=_bumps(rng, rough, 4),
            )
        )
    return tuple(lesions)


def _clinic(
    rng: np.random.Generator, drive: float, lesions: tuple[Lesion, ...], anatomy: Anatomy
) -> dict[str, Any]:
    noise = rng.standard_normal(8)
    group = 1 + int(np.searchsorted([-1.3, -0.5, 0.1, 0.75], 0.8 * drive + 0.7 * noise[1]))
    primary, secondary = GLEASON[group][rng.integers(len(GLEASON[group]))]
    cores = int(np.clip(round(12 * _logistic(-0.1 + 0.8 * drive + 0.8 * noise[2])), 1, 12))
    stage = int(np.searchsorted([-1.0, -0.4, 0.0, 0.5, 1.2, 2.2], 0.6 * drive + 0.8 * noise[3]))
    suv = max((lesion.suv for lesion in lesions), default=anatomy.suv["gland"])
    levels = [anatomy.suv[name] for name in ("blood", "liver", "parotid")]
    return {
        "psa": round(float(np.clip(np.exp(2.3 + 0.55 * drive + 0.7 * noise[0]), 0.5, 900)), 2),
        "grade_group": group,
        "gleason_primary": primary,
        "gleason_secondary": secondary,
        "positive_cores_percent": round(100 * cores / 12, 1),
        "clinical_t": STAGES[stage],
        "age": int(np.clip(round(67 + 7 * noise[4]), 48, 84)),
        "primary_score": _primary(rng, suv * float(np.exp(0.08 * noise[5])), lesions, anatomy),
        "psma_expression": int(np.searchsorted(levels, suv * float(np.exp(0.1 * noise[6])))),
        "ucla_psma_risk": round(
            100 * _logistic(-1 + 0.7 * drive + 0.8 * noise[7]), 1
        ),  # invented, not the nomogram
    }


def _primary(rng: np.random.Generator, suv: float, lesions: tuple[Lesion, ...], anatomy: Anatomy) -> int:
    if not lesions:
        return int(rng.integers(1, 3))
    if suv > 12:
        return 5
    centre = np.array(lesions[0].centre) / np.array(anatomy.gland_radii)
    peripheral = centre[1] > 0.2 or np.linalg.norm(centre) > 0.6
    return int(np.clip((4 if peripheral else 3) - (rng.random() < 0.1), 1, 5))


def _missing(rng: np.random.Generator, role: str, synchronous: int | None) -> frozenset[str]:
    """PSA at random; the biopsy only in the metastatic ("diagnosed on metastatic biopsy"), as in the paper."""
    psa, biopsy = rng.random(2)
    missing = {"psa"} if psa < 0.05 else set()
    if role == "development" and synchronous == 1 and biopsy < 0.25:
        missing |= set(BIOPSY)
    return frozenset(missing)


def _acquisition(rng: np.random.Generator, index: int) -> Acquisition:
    timing = TIMINGS[index % len(TIMINGS)]
    uptake = int(rng.uniform(60, 120) * 60)
    day_time, night_time = int(rng.uniform(10, 16) * 3600), int(rng.uniform(5, 45) * 60)
    return Acquisition(
        weight_kg=round(float(np.clip(rng.normal(88, 13), 58, 130)), 1),
        height_m=round(float(np.clip(rng.normal(1.77, 0.07), 1.6, 1.96)), 2),
        dose_bq=float(round(np.clip(rng.normal(333e6, 30e6), 250e6, 400e6), -3)),
        uptake_s=uptake,
        clock_s=night_time if timing.startswith("midnight") else day_time,
        day=int(rng.integers(0, 300)),
        timing=timing,
    )
