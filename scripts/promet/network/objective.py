"""What a network is trained for and judged by: a label, or a time to an event (``network.hazard``).

An objective gives the loss of logits, the figure by which the epoch is chosen (``metric``: ``auc``, or ``concordance``, Harrell's C
up to the horizon), and, for the hazard, its intercepts alpha, which are learnt beside the network's parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from promet.network import hazard
from promet.network.data import TRAINING, VALIDATION, Followed, Member
from promet.study.auc import auc
from promet.study.concordance import harrell
from promet.study.outcome import AnyAim

EVERYONE = slice(None)
Pair = tuple[
    np.ndarray, np.ndarray
]  # time (n,), event (n,): 0 = left without, 1 = the event, 2 = a competing event


class Objective(Protocol):
    """Of the patients of both parts, in the order of their volumes."""

    metric: str
    parameters: dict[str, nn.Parameter]  # name -> what is learnt beside the network's

    def loss(self, eta: Tensor, part: str, rows: Tensor | slice = EVERYONE) -> Tensor:
        """Of the logits (n,) of some patients of a part."""
        ...

    def judged(self, eta: np.ndarray) -> float:
        """The metric on the validation part, from its logits."""
        ...


class Label:
    """A label 0 or 1: weighted binary cross-entropy, AUC (the paper).

    Args:
        labels: part -> (n,) of 0 and 1.
        device: where to compute.
    """

    metric = "auc"

    def __init__(self, labels: dict[str, np.ndarray], device: torch.device) -> None:
        self.labels = labels
        self.targets = {part: torch.from_numpy(array).float().to(device) for part, array in labels.items()}
        self.parameters: dict[str, nn.Parameter] = {}
        positive = labels[TRAINING].sum()
        weight = torch.tensor((len(labels[TRAINING]) - positive) / positive, dtype=torch.float32)
        self.criterion = nn.BCEWithLogitsLoss(pos_weight=weight).to(device)

    def loss(self, eta: Tensor, part: str, rows: Tensor | slice = EVERYONE) -> Tensor:
        return self.criterion(eta, self.targets[part][rows])

    def judged(self, eta: np.ndarray) -> float:
        return auc(self.labels[VALIDATION], eta)


class _Followed:
    """What both losses over time share.

    Args:
        pairs: part -> time and event.
        at: the horizon; events after it count as none.
    """

    metric = "concordance"

    def __init__(self, pairs: dict[str, Pair], at: float) -> None:
        self.pairs, self.at = pairs, at
        self.parameters: dict[str, nn.Parameter] = {}

    def judged(self, eta: np.ndarray) -> float:
        value, _ = harrell(*self.pairs[VALIDATION], eta, self.at)
        if value is None:
            raise ValueError("the validation part has no pair that can be compared")
        return value


class Hazard(_Followed):
    """Discrete hazard between edges, the last of which is the horizon; no weight of classes."""

    def __init__(self, pairs: dict[str, Pair], edges: Sequence[float], device: torch.device) -> None:
        super().__init__(pairs, edges[-1])
        cuts = {part: hazard.intervals(*pair, edges) for part, pair in pairs.items()}
        self.cuts = {
            part: tuple(torch.from_numpy(array).float().to(device) for array in cut)
            for part, cut in cuts.items()
        }
        self.alpha = nn.Parameter(torch.from_numpy(hazard.start(cuts[TRAINING])).float().to(device))
        self.parameters = {hazard.ALPHA: self.alpha}

    def loss(self, eta: Tensor, part: str, rows: Tensor | slice = EVERYONE) -> Tensor:
        at_risk, event = (table[rows] for table in self.cuts[part])
        return hazard.hazard_loss(eta, self.alpha, at_risk, event)


class Cox(_Followed):
    """Cox's partial likelihood within a batch, over (its size x the share of events in training): batches of equal size weigh
    the same, however many events are in them. It gives no probability."""

    def __init__(self, pairs: dict[str, Pair], at: float, device: torch.device) -> None:
        super().__init__(pairs, at)
        self.tensors = {
            part: tuple(tensor.to(device) for tensor in hazard.up_to(*pair, at))
            for part, pair in pairs.items()
        }
        self.share = float(self.tensors[TRAINING][1].double().mean())

    def loss(self, eta: Tensor, part: str, rows: Tensor | slice = EVERYONE) -> Tensor:
        time, event = (table[rows] for table in self.tensors[part])
        return hazard.cox_loss(eta, time, event) / (len(eta) * self.share)


def of_members(parts: dict[str, list[Member]], learn: AnyAim, device: torch.device) -> Objective:
    """The objective of an outcome (study.outcome) for the members of both parts."""
    if learn.kind != "time_to_event":
        labels = {part: np.array([member.label for member in those]) for part, those in parts.items()}
        return Label(labels, device)
    pairs = {}
    for part, those in parts.items():
        followed = [member for member in those if isinstance(member, Followed)]
        pairs[part] = np.array([m.time for m in followed]), np.array([m.event for m in followed])
    if learn.loss == "cox":
        return Cox(pairs, learn.horizon(), device)
    return Hazard(pairs, learn.intervals, device)
