"""Train one seed of one variant on one split."""

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from promet.core import checksums
from promet.core.errors import IntegrityError, Interrupted, UsageError
from promet.core.files import atomic
from promet.core.pin import canonical
from promet.core.sidecar import Sidecar
from promet.core.stage import Outcome, run_stage
from promet.network import progress, resume
from promet.network.architecture import parameters, require_shape
from promet.network.augment import augmenter
from promet.network.data import (
    TRAINING,
    VALIDATION,
    Member,
    load_tensors,
    read_members,
    require_both_labels,
    write_table,
)
from promet.network.device import about, prepare_torch, unrepeatable
from promet.network.hazard import ALPHA
from promet.network.objective import Cox, Objective, of_members
from promet.network.randomness import DROPOUT, INITIALISATION, ORDER, derive
from promet.network.score import logits, logits_there
from promet.network.settings import Variant
from promet.study.chosen import KEYS
from promet.study.outcome import SYNCHRONOUS, AnyAim, TimeToEvent

log = logging.getLogger("promet")

PREDICTIONS = {"patient": "string", "part": "string", "label": "int64", "logit": "float64"}
ADAM = ("step", "exp_avg", "exp_avg_sq")  # what it remembers of each parameter
PLATEAU = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch")  # what ReduceLROnPlateau remembers
VALIDATION_BATCH = 10  # the maps of more leave the cache
SAVE_EVERY = 5  # epochs between two saved states


class Trainer:
    """The state of a training and its one step, an epoch.

    Args:
        settings: architecture, training, augmentation.
        seed: fixes initialisation, order, dropout and augmentation.
        volumes: part -> float32 (n, 2, z, y, x).
        objective: what is learnt of whom: the loss, and the metric that chooses the epoch.
        device: where to compute.
    """

    def __init__(
        self,
        settings: Variant,
        seed: int,
        volumes: dict[str, np.ndarray],
        objective: Objective,
        device: torch.device,
    ) -> None:
        self.settings, self.seed, self.device, self.objective = settings, seed, device, objective
        self.metric = KEYS[objective.metric]
        self.columns = ("epoch", "training_loss", "validation_loss", self.metric, "learning_rate")
        torch.manual_seed(derive(seed, INITIALISATION))
        self.model = require_shape(settings.architecture, volumes[TRAINING].shape[1:])
        counts = {name: tensor for name, tensor in self.model.named_buffers() if tensor.ndim == 0}
        self.model.to(device)
        # Of batches: nothing on the device reads them, so they cost it no launch.
        for name, tensor in counts.items():
            module, _, buffer = name.rpartition(".")
            setattr(self.model.get_submodule(module), buffer, tensor)
        self.volumes = {part: torch.from_numpy(array).to(device) for part, array in volumes.items()}
        self.augment = augmenter(settings.augmentation, seed, volumes[TRAINING].shape[2:])
        options = settings.training
        self.learnt = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.learnt += objective.parameters.values()
        # The same memory without gaps: the fused step copies gradients that are channels-last, and mistakes one layout for another.
        views = [nn.Parameter(_channels_last(parameter.detach())) for parameter in self.learnt]
        self.optimizer = torch.optim.Adam(
            views, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
        )
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=options.plateau_factor, patience=options.plateau_patience
        )
        self.autocast = options.autocast and device.type != "cpu"  # slower there, and it diverged
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.best_row: dict[str, Any] = {}
        self.better_epoch = 0
        self.seconds = 0.0
        self.resumed = 0

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)

    @property
    def finished(self) -> bool:
        """All epochs done, or none with a better validation metric for too long."""
        options = self.settings.training
        return self.epoch >= options.epochs or self.epoch - self.better_epoch >= options.patience

    def run_epoch(self) -> None:
        """Train one epoch, validate, keep the best weights."""
        start = time.perf_counter()
        epoch = self.epoch + 1
        rate = self.optimizer.param_groups[0]["lr"]
        training_loss, loss, *numbers = self._epoch(epoch).tolist()  # the one wait for the device
        scores = np.array(numbers)
        if not np.isfinite([training_loss, loss]).all():
            raise IntegrityError(
                "E_TRAIN_DIVERGED",
                f"The loss is no longer a number in epoch {epoch}",
                "a finite loss",
                "Lower network.training.learning_rate",
            )
        self.scheduler.step(loss)
        value = self.objective.judged(scores)
        row = dict(zip(self.columns, (epoch, training_loss, loss, value, rate), strict=True))
        self.history.append(row)
        best, best_loss = (
            self.best_row.get(self.metric, -1.0),
            self.best_row.get("validation_loss", np.inf),
        )
        early = epoch <= self.settings.training.earliest_epoch  # each takes the place of the one before
        if early or value > best:
            self.better_epoch = epoch
        if early or (value, -loss) > (best, -best_loss):
            self.best_row = row
            self.best = {name: tensor.detach().clone() for name, tensor in self.state().items()}
        self.seconds += time.perf_counter() - start

    def _epoch(self, epoch: int) -> Tensor:
        """Train one epoch and look at the validation part: both losses and the validation part's logits, float64, on the device."""
        training_loss = self._fit(epoch)
        scores = logits_there(self.model, self.volumes[VALIDATION], VALIDATION_BATCH)
        with torch.no_grad():
            loss = self.objective.loss(scores, VALIDATION)
        return torch.cat([torch.stack([training_loss, loss]), scores])

    def _fit(self, epoch: int) -> Tensor:
        self.model.train()
        count = len(self.volumes[TRAINING])
        order = np.random.default_rng(derive(self.seed, ORDER, epoch)).permutation(count)
        torch.manual_seed(derive(self.seed, DROPOUT, epoch))
        losses: list[Tensor] = []
        everything = self.augment(self.volumes[TRAINING], epoch, range(count))
        # Batches of equal size as far as possible: a last batch of one has no variance to normalise by.
        batches = -(-count // self.settings.training.batch_size)
        for rows in torch.from_numpy(order).to(self.device).tensor_split(batches):
            volumes = everything[rows].contiguous(memory_format=torch.channels_last_3d)
            with torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext():
                loss = self.objective.loss(self.model(volumes), TRAINING, rows)
            loss.backward()
            for view, parameter in zip(self.optimizer.param_groups[0]["params"], self.learnt, strict=True):
                view.grad, parameter.grad = _channels_last(parameter.grad), None
            self.optimizer.step()
            losses.append(loss.detach() * len(rows))
        return torch.stack(losses).double().sum() / count

    def state(self) -> dict[str, Tensor]:
        """What is learnt, now: the network's state and the objective's parameters."""
        return self.model.state_dict() | dict(self.objective.parameters)

    def tensors(self) -> dict[str, Tensor]:
        """What is learnt now, that of the best epoch, Adam's moments."""
        adam = {
            f"adam.{number}.{name}": tensor
            for number, parameter in enumerate(self.optimizer.param_groups[0]["params"])
            for name, tensor in self.optimizer.state[parameter].items()
        }
        now = {f"model.{name}": tensor for name, tensor in self.state().items()}
        return now | {f"best.{name}": tensor for name, tensor in self.best.items()} | adam

    def progress(self) -> dict[str, Any]:
        """Everything else that decides what follows, as JSON values."""
        return {
            "history": self.history,
            "best_row": self.best_row,
            "better_auc_epoch": self.better_epoch,  # by its first name, which saved states have
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "plateau": {name: getattr(self.scheduler, name) for name in PLATEAU},
            "seconds": self.seconds,
            "resumed": self.resumed,
        }

    def restore(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Take up a saved state."""
        self.best = {name: tensors[f"best.{name}"] for name in self.state()}
        self.model.load_state_dict({name: tensors[f"model.{name}"] for name in self.model.state_dict()})
        for name, parameter in self.objective.parameters.items():
            parameter.data.copy_(tensors[f"model.{name}"])
        for number, parameter in enumerate(self.optimizer.param_groups[0]["params"]):
            self.optimizer.state[parameter] = {
                name: tensors[f"adam.{number}.{name}"].to(self.device) for name in ADAM
            }
        self.optimizer.param_groups[0]["lr"] = progress["learning_rate"]
        for name in PLATEAU:
            setattr(self.scheduler, name, progress["plateau"][name])
        self.history, self.best_row = progress["history"], progress["best_row"]
        self.better_epoch, self.seconds = progress["better_auc_epoch"], progress["seconds"]
        self.resumed = progress["resumed"] + 1


def _channels_last(tensor: Tensor | None) -> Tensor | None:
    """(out, channels, z, y, x) to (out, z, y, x, channels), as a view; anything without places as it is, also no gradient at all."""
    return tensor if tensor is None or tensor.ndim < 3 else tensor.movedim(1, -1)


@dataclass(frozen=True)
class Inputs:
    """What this stage reads."""

    fit: Path  # fit.json of the split
    patients: Path  # results folder with one folder per patient
    seed: int  # number of the run
    save_every: int = SAVE_EVERY  # does not change the result
    learn: AnyAim = (
        SYNCHRONOUS  # of a time to an event kind, horizon, edges and loss; otherwise there are labels
    )
    keep_state: bool = False  # for a submission of several, which forgets them when all are done


def run(inputs: Inputs, settings: Variant, out: Path, pin: str) -> Sidecar:
    """Train one seed; model.safetensors, history.parquet and predictions.parquet lie beside ``out``.

    The same fit set, settings and seed give the same bytes on the same kind of CPU, also when the training was
    killed and taken up again. Weights are those of the epoch with the best validation AUC, ties by validation loss.

    The pin is part of what a saved state belongs to.

    Raises:
        IntegrityError: the fit set or a tensor is not the recorded one, or the loss is no number.
        UsageError: a part lacks a label, the seed is being trained by another process, or the study's model is locked.
        Interrupted: a signal came; the state is saved.
    """
    _require_unlocked(out)
    with resume.exclusive(out.parent), resume.requests_to_stop() as stop:
        record = run_stage(
            "train",
            out,
            pin,
            lambda: _work(inputs, settings, out.parent, pin, stop),
            packages=("torch", "monai", "numpy", "safetensors", "pyarrow"),
        )
        if not inputs.keep_state:
            resume.discard(out.parent)
    return record


def _require_unlocked(out: Path) -> None:
    """The last defence of a locked model, should the plan or a person ask for another one: study/network/.../train.json."""
    network = next((folder for folder in out.absolute().parents if folder.name == "network"), None)
    model = network.with_name("model") if network else None
    if model and ((model / checksums.NAME).exists() or (model / "bundle.json").exists()):
        raise UsageError(
            "E_MODEL_LOCKED",
            "The model of this study is locked, and nothing is trained for it any more",
            "a study whose model is not made yet",
            f"promet freeze NAME --into NEWSTUDY for a new model; or, if nobody has the old one, delete the folder {model.name} "
            "of the study and run again",
        )


def _work(inputs: Inputs, settings: Variant, folder: Path, pin: str, stop: list[str]) -> Outcome:
    device = prepare_torch(settings.training.tf32)
    digest, members = read_members(inputs.fit)
    require_both_labels(members)
    parts = {part: [member for member in members if member.part == part] for part in (TRAINING, VALIDATION)}
    volumes = {
        part: load_tensors(inputs.patients, ((m.patient, m.tensor_digest) for m in those))
        for part, those in parts.items()
    }
    trainer = Trainer(settings, inputs.seed, volumes, of_members(parts, inputs.learn, device), device)
    identity = {
        "pin": pin,
        "fit": digest,
        "seed": inputs.seed,
        "settings": settings.model_dump(mode="json"),
        **({"learn": inputs.learn.model_dump(mode="json")} if isinstance(inputs.learn, TimeToEvent) else {}),
        "torch": torch.__version__,
        "device": device.type,
    }
    shown_by = unrepeatable(trainer.model, volumes[TRAINING].shape[1:], device)
    saved = resume.load(folder, identity)
    if saved:
        trainer.restore(*saved)
        log.info("train: taken up after epoch %d", trainer.epoch)
    with progress.shown(settings.training.epochs) as show, progress.boarded(folder) as note:
        while not trainer.finished:
            trainer.run_epoch()
            show(trainer)
            note(trainer)
            if trainer.finished:
                break
            if stop or trainer.epoch % inputs.save_every == 0:
                try:
                    resume.save(folder, identity, trainer.tensors(), trainer.progress())
                except OSError as error:  # a full disk may have room again when it matters
                    if stop:
                        raise
                    log.warning(
                        "train: the state after epoch %d could not be saved (%s); going on",
                        trainer.epoch,
                        error.strerror,
                    )
            if stop:
                raise Interrupted(
                    "E_TRAIN_INTERRUPTED",
                    f"{stop[0]} came, the training stopped after epoch {trainer.epoch} and saved its state",
                    remedy="Start the same command again, it goes on from there",
                )
    outcome = _outcome(trainer, folder, parts[VALIDATION], digest)
    outcome.notes |= about(device, settings.training.tf32)
    outcome.warnings += shown_by
    return outcome


def _outcome(trainer: Trainer, folder: Path, validation: list[Member], digest: str) -> Outcome:
    from safetensors.torch import save as to_bytes

    settings, row = trainer.settings, trainer.best_row
    beside: dict[str, Any] = {ALPHA: None} if isinstance(trainer.objective, Cox) else {}
    beside |= {name: trainer.best.pop(name).tolist() for name in trainer.objective.parameters}
    trainer.model.load_state_dict(trainer.best)
    architecture = settings.architecture.model_dump(mode="json")
    about = canonical(
        {"architecture": architecture, "fit": digest, "seed": trainer.seed, "epoch": row["epoch"], **beside}
    )
    weights = folder / "model.safetensors"
    with atomic(weights) as temporary:
        temporary.write_bytes(to_bytes(resume.pack(trainer.best), metadata={"promet": about}))
    types = {name: "int64" if name == "epoch" else "float64" for name in trainer.columns}
    history = {name: [line[name] for line in trainer.history] for name in types}
    predictions = {
        "patient": [member.patient for member in validation],
        "part": [member.part for member in validation],
        "label": [member.label for member in validation],
        "logit": logits(trainer.model.cpu(), trainer.volumes[VALIDATION].cpu()).tolist(),
    }
    products = {
        "model": weights,
        "history": write_table(folder / "history.parquet", history, types),
        "predictions": write_table(folder / "predictions.parquet", predictions, PREDICTIONS),
    }
    values = {
        "seed": trainer.seed,
        "fit": digest,
        "architecture": architecture,
        "best_epoch": row["epoch"],
        "epochs_run": trainer.epoch,
        trainer.metric: row[trainer.metric],
        "validation_loss": row["validation_loss"],
        "training": len(trainer.volumes[TRAINING]),
        "validation": len(validation),
        "parameters": parameters(trainer.model),
        **beside,
    }
    notes = {
        "seconds": round(trainer.seconds, 1),
        "seconds_per_epoch": round(trainer.seconds / trainer.epoch, 4),
        "device": trainer.device.type,
        "threads": torch.get_num_threads(),
        "resumed": trainer.resumed,
    }
    return Outcome(products, values, notes=notes)
