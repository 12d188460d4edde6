"""Settings of the imaging room."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from promet.core.defaults import RAISED_SUV, SHAPE, SPACING_MM, TOTALSEGMENTATOR
from promet.core.settings import Settings

Positive = Annotated[float, Field(gt=0)]
Size = Annotated[int, Field(ge=1)]


class Convert(Settings):
    """What is kept of the whole body beside the cuboid."""

    keep_pet: bool = Field(
        True,
        description="keep the whole-body PET in SUV as NIfTI; without it only its part around the organ is kept "
        "(segment.region_mm), and the PET is read a second time when the masks are made",
    )
    keep_ct: bool = Field(
        False,
        description="keep the whole-body CT in Hounsfield units as NIfTI, of patients whose table row names one",
    )


class TotalSegmentator(Settings):
    """An older way to name the program TotalSegmentator, read for one version more: write imaging.segment.sources.totalsegmentator.
    No result depends on where its weights lie or on the device, so these make nothing stale."""

    use: bool = Field(
        False, description="call it; it has to be installed, or the run started with --sdm conda"
    )
    weights: str = Field(
        "",
        description="folder with its weights (Dataset291_... and so on), for sites without internet; empty: "
        "its own folder, into which it loads what is missing",
    )
    device: str = Field("cpu", pattern=r"^(cpu|gpu(:\d+)?)$", description="cpu, gpu or gpu:1")


class Organs(Settings):
    """Organ masks by TotalSegmentator."""

    fast: bool = Field(False, description="its 3 mm model: faster, and less exact for a small organ")
    head: bool = Field(
        False,
        description="also the parotid glands (its task head_glands_cavities), which a PSMA expression score of 3 needs",
    )


class Lesions(Settings):
    """Watershed inside the organ, used when the table gives no lesion mask."""

    floor_suv: Positive = Field(
        RAISED_SUV,
        description="no voxel below this SUV is lesion (Alipour: watershed with a floor of SUV 4, median Dice 0.93)",
    )
    smooth_mm: float = Field(3.0, ge=0, description="Gaussian sigma before the search for maxima")
    min_volume_ml: float = Field(0.2, ge=0, description="smaller components are dropped")
    organ_margin_mm: float = Field(
        3.0,
        ge=0,
        description="the organ mask is dilated by this before the search (uptake spills over the CT contour)",
    )
    fraction_of_max: float = Field(
        0.41, ge=0, le=1, description="a lesion ends below this share of its own maximum; 0 switches it off"
    )


Volume, Structure = Literal["pet", "ct"], Literal["prostate", "lesions"]


class Source(Settings):
    """An external program that makes a mask where the table gives none. It is installed by you, and called without a shell."""

    command: str = Field(
        "",
        description="its words, with {pet} {ct} {out} {weights} {device} for the volumes (NIfTI: SUV, HU), the folder to "
        "write to, and what stands below; empty for totalsegmentator, which promet knows",
    )
    inputs: tuple[Volume, ...] = Field(
        ("ct",), description="volumes it needs; a patient without one of them gets no mask from it"
    )
    outputs: dict[Structure, str] = Field(
        {}, description="structure (prostate, lesions) -> file below {out}, NIfTI, placed in the body"
    )
    labels: dict[Structure, Annotated[int, Field(ge=1)]] = Field(
        {}, description="structure -> its number in that file; without one every voxel that is not 0"
    )
    version: str = Field("", description="of the program: another version is another mask")
    weights: str = Field("", description="folder of its weights; promet downloads none")
    weights_digest: str = Field(
        "",
        pattern="^([0-9a-f]{64})?$",
        description="of that folder, as promet imaging weights FOLDER prints it; other weights are refused",
    )
    device: str = Field("cpu", pattern=r"^(cpu|gpu(:\d+)?)$", description="cpu, gpu or gpu:1, for {device}")


class Segment(Settings):
    """Masks of organ and lesions on the PET grid."""

    prostate_roi: str = Field(
        "(?i)prostate",
        description="regular expression that names the organ in RTSTRUCT or SEG; a name that fits from end to end wins "
        "over names that contain it, label=N takes number N",
    )
    lesions_roi: str = Field(
        "(?i)lesion", description="the same for the lesions, of which all that fit are taken"
    )
    bladder_roi: str = Field(
        "(?i)bladder",
        description="the same for the urinary bladder, if the file of the organ mask holds it (label=N in a volume): "
        "the watershed takes nothing from it",
    )
    blood_roi: str = Field(
        "(?i)aorta|blood.?pool",
        description="the same for the blood pool, whose mean SUV the PSMA expression score is compared with",
    )
    reference_roi: str = Field(
        "(?i)liver",
        description="the same for the reference organ: liver, or spleen for a ligand that the liver excretes (PSMA-1007)",
    )
    parotid_roi: str = Field("(?i)parotid", description="the same for the parotid glands")
    region_mm: float = Field(
        60.0, gt=0, description="what is kept of the PET around the organ when convert.keep_pet is false"
    )
    sources: dict[Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]*$")], Source] = Field(
        {},
        description="name -> external program that makes the mask of the prostate or of the lesions where the table gives none "
        "(command, inputs, outputs, labels, version, weights, weights_digest, device); see docs/sources.md",
    )
    lesions: Lesions = Lesions()
    organ_is_lesion: bool = Field(
        False,
        description="a lesion mask that is the organ mask is meant so (a primary tumour that plays the prostate); otherwise it "
        "is taken for a mistake and refused",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, standard: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without ``organ_is_lesion`` where it is off: records made before there was such a key stay as they are.

        Without ``sources``: they concern patients without a mask and no others (``Imaging.sources``).
        """
        told = standard(self)
        return {
            key: value
            for key, value in told.items()
            if key != "sources" and (key != "organ_is_lesion" or value)
        }


class Crop(Settings):
    """Cuboid centred on the organ mask."""

    shape: tuple[Size, Size, Size] = Field(SHAPE, description="voxels (z, y, x) (paper: 14 x 54 x 54)")
    spacing_mm: tuple[Positive, Positive, Positive] = Field(
        SPACING_MM,
        description="inferred, the paper is silent: 70 x 74 x 74 mm, a cube in mm ('cubic region')",
    )
    masks: str = Field(
        "volume",
        pattern="^(volume|nearest)$",
        description="how organ and lesions come onto the cuboid (PET: linear). volume: the fullest voxels, as many as the "
        "volume of the mask needs; nearest: the paper is silent, other programs often do this, and a lesion of 1 ml then "
        "changes by 2 % on average and 8 % at most",
    )
    mask_outside: bool = Field(
        True,
        description="PET outside the organ is set to 0 (paper: 'PET activity outside of the prostate excluded')",
    )
    margin_mm: float = Field(
        0.0, ge=0, description="the organ is dilated by this before PET outside it is set to 0"
    )


class Normalise(Settings):
    """Intensity of the PET channel."""

    method: str = Field("min-max", pattern="^min-max$", description="per volume to [0, 1] (paper)")


class Measure(Settings):
    """Uptake and volume."""

    suv_peak_ml: Positive = Field(1.0, description="sphere of SUVpeak in ml (1 cm3, radius 6.2 mm)")
    suv_peak_weights: str = Field(
        "partial",
        pattern="^(partial|centre)$",
        description="partial: a voxel counts by its share inside the sphere, so the sphere has its nominal volume on any PET grid; "
        "centre: voxels whose centre lies inside, as IBSI does (0.69 to 1.29 ml on common grids)",
    )


class Picture(Settings):
    """Quality-control picture."""

    suv_max: Positive = Field(15.0, description="top of the grey scale in SUV")
    volumes: bool = Field(
        False,
        description="also write the neighbourhood of the prostate as two small volumes; with report.patient_level the report then opens them in a viewer",
    )


class Imaging(Settings):
    """All imaging stages."""

    convert: Convert = Convert()
    totalsegmentator: TotalSegmentator = TotalSegmentator()
    organs: Organs = Organs()
    segment: Segment = Segment()
    crop: Crop = Crop()
    normalise: Normalise = Normalise()
    measure: Measure = Measure()
    picture: Picture = Picture()
    max_quarantine: float = Field(
        0.1, ge=0, le=1, description="the run stops when a larger share of a fit part is quarantined"
    )

    @model_validator(mode="before")
    @classmethod
    def _sources_of_a_dump(cls, given: Any) -> Any:
        """What ``_with_sources`` puts beside the sections goes back into its own."""
        if not isinstance(given, dict) or "sources" not in given:
            return given
        segment = {**given.get("segment", {}), "sources": given["sources"]}
        return {**{key: value for key, value in given.items() if key != "sources"}, "segment": segment}

    @model_serializer(mode="wrap")
    def _with_sources(self, standard: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The external programs beside the sections, where there are any; TotalSegmentator in the section of its own, as before."""
        told, named = standard(self), self.segment.sources
        known = named.get(TOTALSEGMENTATOR)
        if known is not None and isinstance(told.get("totalsegmentator"), dict):
            told["totalsegmentator"] = {"use": True, "weights": known.weights, "device": known.device}
        if known is not None and not (known.version or known.weights_digest):
            named = {name: source for name, source in named.items() if name != TOTALSEGMENTATOR}
        return told | (
            {"sources": {name: source.model_dump() for name, source in named.items()}} if named else {}
        )

    @model_validator(mode="after")
    def _sources_are_whole(self) -> Self:
        """Each program says how it is called and what it makes, and no two make the same."""
        makers: dict[str, str] = {"prostate": TOTALSEGMENTATOR} if self.totalsegmentator.use else {}
        for name, source in self.segment.sources.items():
            made = ["prostate"] if name == TOTALSEGMENTATOR else list(source.outputs)
            if name == TOTALSEGMENTATOR and (source.command or source.outputs or source.labels):
                raise ValueError(f"segment.sources.{name}: promet knows its command, outputs and labels")
            if name != TOTALSEGMENTATOR and not (
                source.command and made and source.version and source.inputs
            ):
                raise ValueError(f"segment.sources.{name} needs command, inputs, outputs and version")
            if source.weights and name != TOTALSEGMENTATOR and not source.weights_digest:
                raise ValueError(
                    f"segment.sources.{name} names weights and no weights_digest: promet imaging weights FOLDER prints it"
                )
            for file in source.outputs.values():
                if file.startswith("/") or ".." in file.split("/"):
                    raise ValueError(f"segment.sources.{name}.outputs: files below {{out}}")
            if set(source.labels) - set(source.outputs):
                raise ValueError(f"segment.sources.{name}.labels: a structure that is not among its outputs")
            for structure in made:
                if makers.setdefault(structure, name) != name:
                    raise ValueError(
                        f"segment.sources: {makers[structure]} and {name} both make the {structure}"
                    )
        return self

    @model_validator(mode="after")
    def _region_holds_the_box(self) -> Self:
        half = max(n * step for n, step in zip(self.crop.shape, self.crop.spacing_mm, strict=True)) / 2
        if not self.convert.keep_pet and half > self.segment.region_mm:
            raise ValueError(
                f"convert.keep_pet is false and half of the cuboid ({half:g} mm) is more than segment.region_mm"
            )
        return self
