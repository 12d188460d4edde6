"""Losses for time to an event: the discrete hazard with its intercepts, and Cox's partial likelihood.

The network gives one number per patient, eta. Hazard: between two edges the event happens with probability h_k = sigmoid(alpha_k +
eta) to who has not had it; risk by the last edge = 1 - prod(1 - h_k). One interval that nobody leaves early is the binary
cross-entropy. Sources: Gensheimer & Narasimhan, PeerJ 2019;7:e6257 (hazard); Efron, JASA 1977;72:557 (ties under Cox).

A competing event ends follow-up here as leaving does: the hazard is that of the event alone (cause-specific).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from promet.study.follow_up import by_then, settled, until

ALPHA = "alpha"  # of a model, in train.json, model.json and the header of the weights; null under Cox


class Intervals(NamedTuple):
    """Of patients and intervals (n, k): who was at risk in it to its end or to the event, and who had the event in it."""

    at_risk: np.ndarray
    event: np.ndarray


def intervals(time: np.ndarray, event: np.ndarray, edges: Sequence[float]) -> Intervals:
    """Cut follow-up at ``edges``, rising; an interval (a, b] has an event at b, and who left at b has lived it.

    Who left inside an interval does not enter it; who had the event after the last edge has lived all. The first interval
    begins with the first moment, 0 included.

    Args:
        time: (n,); event: (n,), 1 = the event, anything else = left without it.
    """
    time, event = np.asarray(time, float), np.asarray(event) == 1
    lived = np.stack([until(time, edge) for edge in edges], axis=1)
    reached = np.stack([by_then(time, edge) for edge in edges], axis=1)
    here = reached & ~np.roll(reached, 1, axis=1)
    here[:, 0] = reached[:, 0]
    happened = here & event[:, None]
    return Intervals(lived | happened, happened)


def start(cut: Intervals) -> np.ndarray:
    """alpha (k,) before the first step: logit((events + 1/2) / (at risk + 1)) of each interval."""
    share = (cut.event.sum(axis=0) + 0.5) / (cut.at_risk.sum(axis=0) + 1)
    return np.log(share / (1 - share))


def hazard_loss(eta: Tensor, alpha: Tensor, at_risk: Tensor, event: Tensor) -> Tensor:
    """Mean over patients of the negative log-likelihood.

    Args:
        eta: (n,); alpha: (k,); at_risk, event: (n, k) as ``intervals`` gives them, as eta's type.
    """
    logit = eta[:, None] + alpha
    total = functional.binary_cross_entropy_with_logits(logit, event, weight=at_risk, reduction="sum")
    return total / len(eta)


def risk(eta: np.ndarray, alpha: Sequence[float]) -> np.ndarray:
    """Probability (n,) of the event by the last edge."""
    logit = np.asarray(eta, float)[:, None] + np.asarray(alpha, float)
    return -np.expm1(-np.logaddexp(0, logit).sum(axis=1))


def cox_loss(eta: Tensor, time: Tensor, event: Tensor) -> Tensor:
    """Sum over events of the negative log partial likelihood, ties by Efron; in float64, each risk set by its own maximum.

    Without an event it is 0 times the sum of eta, which keeps the graph.

    Args:
        eta: (n,); time: (n,) settled (``follow_up.settled``); event: (n,) bool.
    """
    eta = eta.double()
    if not bool(event.any()):
        return 0 * eta.sum()
    mine, here = time[event, None], event & (time == time[event, None])
    size = here.sum(1)
    before = (here[:, event] & torch.ones_like(here[:, event]).tril(-1)).sum(1)  # place among those tied
    weight = (time >= mine).double() - here * (before.double() / size)[:, None]
    logs = torch.where(time >= mine, eta, -torch.inf)
    top = logs.max(1).values.detach()
    return (torch.log((weight * torch.exp(logs - top[:, None])).sum(1)) + top - eta[event]).sum()


def up_to(time: np.ndarray, event: np.ndarray, at: float | None = None) -> tuple[Tensor, Tensor]:
    """Time and event as ``cox_loss`` takes them; with a horizon nobody is followed beyond it, and an event after it is none."""
    when, end = settled(time, at)
    happened = np.asarray(event) == 1
    if end is not None:
        happened, when = happened & (when <= end), np.minimum(when, end)
    return torch.from_numpy(when), torch.from_numpy(happened)
