"""Settings of the network room."""

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from promet.core.settings import Settings
from promet.network.augment.settings import Augmentation


class Dataset(Settings):
    """What the fit set may lose."""

    max_quarantine: float = Field(
        0.1, ge=0, le=1, description="the run stops when a larger share of a fit part is quarantined"
    )


class Architecture(Settings):
    """The network."""

    name: str = Field(
        "squeezenet",
        description="paper: SqueezeNet, chosen among four for its size; also resnet18, mobilenet, shufflenet, or a network of monai by its name there",
    )
    groups: Literal[1, 2, 4, 8] = Field(
        2,
        description="groups of the 3x3x3 expand convolutions (paper tuned it; 2 gives its 'approximately 1 million' parameters: 1,007,105)",
    )
    dropout: float = Field(0.8, ge=0, lt=1, description="paper: 0.8")
    width: Literal[0.25, 0.5, 1.0] = Field(0.5, description="of mobilenet alone; 0.5 gives 0.86 M parameters")


class Training(Settings):
    """Optimisation of one seed."""

    epochs: int = Field(300, ge=1, description="paper: at most 300")
    patience: int = Field(
        140, ge=1, description="paper: early stopping after 140 epochs without a better validation AUC"
    )
    earliest_epoch: int = Field(
        1,
        ge=1,
        description="no earlier network is kept; the paper names no limit. Until batch norm's running statistics have left their start "
        "(some 30 steps), a network says nearly the same of everyone and ranks few validation patients well by luck",
    )
    batch_size: int = Field(8, ge=1, description="ours, the paper is silent")
    learning_rate: float = Field(1e-4, gt=0, description="paper: 1e-4")
    weight_decay: float = Field(1e-4, ge=0, description="ours, the paper tuned it without giving the value")
    plateau_factor: float = Field(
        0.5, gt=0, lt=1, description="ReduceLROnPlateau on validation loss; factor ours"
    )
    plateau_patience: int = Field(
        20,
        ge=1,
        description="ReduceLROnPlateau, which acts at the epoch after so many without a lower loss; patience ours",
    )
    autocast: bool = Field(
        False, description="bfloat16 where a GPU is faster with it, other results; never used on a CPU"
    )
    tf32: bool = Field(
        False,
        description="on a GPU, convolutions and products with 10 instead of 23 bits: faster, and no longer the numbers of a CPU",
    )

    @model_serializer(mode="wrap")
    def _as_before(self, standard: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without ``tf32`` where it is off: networks trained before there was such a key stay as they are."""
        return {key: value for key, value in standard(self).items() if key != "tf32" or value}


class Select(Settings):
    """Choice of the network, or of the few whose logits are averaged."""

    metric: Literal["auc", "concordance"] = Field(
        "auc",
        description="of the validation part, by which epoch and network are chosen: auc (paper); of a time to an event (outcome.learn) it has to be concordance, Harrell's C up to the horizon; ties by validation loss",
    )
    rule: Literal["best", "ensemble_mean", "ensemble_top_k"] = Field(
        "best", description="paper: the one best run; or the mean logit of all runs, or of the k best"
    )
    k: int = Field(5, ge=1, description="runs of ensemble_top_k")


class Attention(Settings):
    """Maps of where in the image the chosen network's logit comes from; one job per split."""

    patients: Literal["none", "test", "metachronous", "prospective"] | tuple[str, ...] = Field(
        "none", description="a part of the split, or a list of patients; none = no such job"
    )
    limit: int = Field(12, ge=1, description="at most so many of a part, in the order of their names")


class Variant(Settings):
    """What one training run is told: the three sections, with a variant's overrides laid over them."""

    architecture: Architecture = Architecture()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()


class Network(Settings):
    """All network stages."""

    architecture: Architecture = Architecture()
    training: Training = Training()
    augmentation: Augmentation = Augmentation()
    seeds: int = Field(50, ge=1, description="independent runs (paper: 50)")
    variants: dict[str, dict[str, Any]] = Field(
        {"paper": {}}, description="name -> overrides of architecture, training or augmentation"
    )
    select: Select = Select()
    hindsight: bool = Field(
        True,
        description="after the choice, score every patient with every trained network: what another seed, variant or rule would have given",
    )
    attention: Attention = Attention()

    @model_validator(mode="after")
    def _variants_are_possible(self) -> Self:
        for name, overrides in self.variants.items():
            sections = self.model_dump(include=set(Variant.model_fields))
            for key, value in overrides.items():
                section, _, field = key.partition(".")
                if section in sections:
                    sections[section][field] = value
            try:
                Variant.model_validate(sections)
            except ValueError as error:
                raise ValueError(f"the variant {name} cannot be: {error}") from error
        return self
