"""The parts of training that parts.py and peer_parts.py measure: the same hyperparameters for every system."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

__all__ = [
    *("COMPARED", "NETWORK", "PARTS", "SCHEDULE_STEPS", "WITHOUT_DROPOUT", "Parts", "get_network_options"),
    "get_optimizer_options",
]

NETWORK = "784-256x2-10"
"""The network that chainrule trains by default, with ReLU."""

# More steps than any measurement takes, so that the learning rate is never 0.
SCHEDULE_STEPS = 10**6


@dataclass(frozen=True)
class Parts:
    """What is added to a plain step of Adam; a value of 0 leaves the part out.

    Attributes:
        dropout: probability that a hidden unit is left out, after its activation.
        batch_norm: whether hidden layers are normalized, before their activation.
        label_smoothing: share of the target spread evenly over all classes.
        weight_decay: decoupled weight decay of the weights (AdamW).
        clip_norm: largest Euclidean norm of all gradients together.
        ema_decay: decay of the moving average of all parameters.
        cosine_steps: number of steps of the cosine schedule.
    """

    dropout: float = 0.0
    batch_norm: bool = False
    label_smoothing: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    ema_decay: float = 0.0
    cosine_steps: int = 0

    def compute_rate_factor(self, step: int) -> float:
        """Compute the factor of the learning rate in a step, counted from 0."""
        return 0.5 * (1.0 + math.cos(math.pi * step / self.cosine_steps)) if self.cosine_steps else 1.0


_TOGETHER: dict[str, Any] = {
    "dropout": 0.2,
    "label_smoothing": 0.1,
    "weight_decay": 0.01,
    "clip_norm": 1.0,
    "ema_decay": 0.999,
    "cosine_steps": SCHEDULE_STEPS,
}
PARTS: dict[str, Parts] = {
    "": Parts(),
    "regularized": Parts(**_TOGETHER),
    "batch norm": Parts(batch_norm=True),
    "regularized, batch norm": Parts(**_TOGETHER, batch_norm=True),
}
COMPARED = tuple(PARTS)
# Dropout draws other numbers in each system, so without it they can be checked to compute the same; and a schedule of
# few steps shows in the result of few steps.
WITHOUT_DROPOUT = {name: f"{name} (no dropout)" for name in COMPARED}
PARTS |= {
    WITHOUT_DROPOUT[name]: replace(PARTS[name], dropout=0.0, cosine_steps=min(PARTS[name].cosine_steps, 8))
    for name in COMPARED
}


def get_network_options(parts: Parts) -> dict[str, Any]:
    """Return the arguments of chainrule's `NeuralNetwork`."""
    from chainrule.nn.losses import CrossEntropy

    loss = CrossEntropy(label_smoothing=parts.label_smoothing)
    return {"loss": loss, "dropout": parts.dropout, "batch_norm": parts.batch_norm}


def get_optimizer_options(parts: Parts) -> dict[str, Any]:
    """Return the arguments of chainrule's `Adam` besides those of a plain step."""
    options = {name: asdict(parts)[name] for name in ("weight_decay", "clip_norm", "ema_decay")}
    schedule = "cosine" if parts.cosine_steps else "constant"
    return {**options, "decay_type": "decoupled", "schedule": schedule}
