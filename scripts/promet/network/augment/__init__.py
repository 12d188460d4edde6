"""Random transforms of the training part, seven of fifteen per sample and epoch in random order (paper). The one door is ``augmenter``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promet.network.augment.batched import Batched
    from promet.network.augment.by_monai import Monai
    from promet.network.augment.settings import Augmentation


def augmenter(settings: Augmentation, seed: int, shape: tuple[int, int, int]) -> Monai | Batched:
    """The engine that ``settings.engine`` names; both are called alike, and only the one named is loaded."""
    if settings.engine == "monai":
        from promet.network.augment.by_monai import Monai

        return Monai(settings, seed, shape)
    from promet.network.augment.batched import Batched

    return Batched(settings, seed, shape)
