"""Settings of the imaging room."""

from typing import Annotated

from pydantic import Field

from promet.core.settings import Settings

Positive = Annotated[float, Field(gt=0)]
Size = Annotated[int, Field(ge=1)]


class Lesions(Settings):
    """Watershed inside the organ, used when the table gives no lesion mask."""

    floor_suv: Positive = Field(
        4.0,
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


class Segment(Settings):
    """Masks of organ and lesions on the PET grid."""

    prostate_roi: str = Field(
        "(?i)prostate", description="regular expression that names the organ in RTSTRUCT or SEG"
    )
    lesions_roi: str = Field(
        "(?i)lesion", description="regular expression that names the lesions in RTSTRUCT or SEG"
    )
    bladder_roi: str = Field(
        "(?i)bladder",
        description="the same for the urinary bladder, if the file of the organ mask holds it (label=N in a volume): "
        "the watershed takes nothing from it",
    )
    lesions: Lesions = Lesions()


class Crop(Settings):
    """Cuboid centred on the organ mask."""

    shape: tuple[Size, Size, Size] = Field((14, 54, 54), description="voxels (z, y, x) (paper: 14 x 54 x 54)")
    spacing_mm: tuple[Positive, Positive, Positive] = Field(
        (5.0, 1.37, 1.37),
        description="inferred, the paper is silent: 70 x 74 x 74 mm, a cube in mm ('cubic region')",
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


class Imaging(Settings):
    """All imaging stages."""

    segment: Segment = Segment()
    crop: Crop = Crop()
    normalise: Normalise = Normalise()
    measure: Measure = Measure()
    picture: Picture = Picture()
    max_quarantine: float = Field(
        0.1, ge=0, le=1, description="the run stops when a larger share of a fit part is quarantined"
    )
