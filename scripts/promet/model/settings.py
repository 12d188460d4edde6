"""Settings of the locked model."""

from pydantic import Field

from promet.core.settings import Settings
from promet.imaging.settings import Convert, Crop, Measure, Normalise, Segment


class Model(Settings):
    """The papers of the locked model."""

    authors: str = Field("", description="who made the model; stands in its card and metadata")
    licence: str = Field(
        "",
        description="text file that becomes the bundle's LICENSE; without one the bundle says that no licence was given",
    )


class Preprocessing(Settings):
    """How an image becomes the network's input; part of the contract."""

    convert: Convert = Convert()
    segment: Segment = Segment()
    crop: Crop = Crop()
    normalise: Normalise = Normalise()
    measure: Measure = Measure()


class Bundle(Settings):
    """What the bundle says beyond what its inputs say."""

    study: str = Field("", description="name of the study")
    splits: int = Field(1, description="number of splits of the study")
    imaging: Preprocessing = Preprocessing()
    model: Model = Model()
