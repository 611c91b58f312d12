"""Writes golden.json: gradients and optimizer trajectories that no code of this package had a part in.

    pip install torch==2.13.0 mpmath && python tests/golden/make_golden.py

Gradients and most optimizers come from PyTorch, in float64. Nadam's simple form and Eve, which PyTorch does not have,
are computed from their papers' formulas in 40-digit arithmetic (mpmath).
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import mpmath
import numpy as np
import torch

FILE = Path(__file__).parent / "golden.json"
STEPS, WEIGHT_DECAY = 40, 0.01
functional = torch.nn.functional
FUNCTIONS = {
    "identity": lambda z: z,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "ReLU": torch.relu,
    "leaky_ReLU": functional.leaky_relu,
    "ELU": functional.elu,
    "SELU": functional.selu,
    "softplus": functional.softplus,
    "SiLU": functional.silu,
    "mish": functional.mish,
    "GELU": functional.gelu,
    "GELU_tanh": lambda z: functional.gelu(z, approximate="tanh"),
}
ARCHITECTURES = [[6, 4], [6, 5, 4], [5, 7, 6, 3], [4, 3, 5, 2, 3], [3, 8, 2]]


def torch_loss(name: str, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The two losses as PyTorch computes them."""
    if name == "cross_entropy":
        return torch.nn.functional.cross_entropy(logits, labels)
    target = torch.nn.functional.one_hot(labels, logits.shape[1]).double()
    return 0.5 * ((torch.softmax(logits, dim=1) - target) ** 2).sum(dim=1).mean()


def torch_forward(parameters: dict[str, torch.Tensor], activation: str, x: torch.Tensor) -> torch.Tensor:
    """The logits."""
    layers = len(parameters) // 2
    for layer in range(1, layers + 1):
        x = x @ parameters[f"layer{layer}.weights"] + parameters[f"layer{layer}.biases"]
        x = FUNCTIONS[activation](x) if layer < layers else x
    return x


def random_problem(random: np.random.Generator, sizes: list[int], n: int) -> dict:
    """Parameters, samples and labels."""
    parameters = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes), start=1):
        parameters[f"layer{layer}.weights"] = random.normal(size=(fan_in, fan_out)).tolist()
        parameters[f"layer{layer}.biases"] = random.normal(size=fan_out).tolist()
    x, y = random.normal(size=(n, sizes[0])).tolist(), random.integers(0, sizes[-1], n).tolist()
    return {"sizes": sizes, "parameters": parameters, "x": x, "y": y}


def gradient_cases(random: np.random.Generator) -> list[dict]:
    """The gradient of every parameter for each activation, loss and architecture."""
    cases = []
    for count, activation in enumerate(FUNCTIONS):
        # All combinations for the first four, which are enough to tell a wrong sum; the others need their derivative.
        few = count >= 4
        for loss in ("cross_entropy", "mean_squared_error")[: 1 if few else 2]:
            for number, sizes in enumerate(ARCHITECTURES[: 2 if few else None]):
                case = random_problem(random, sizes, n=1 + 2 * number)
                tensors = {
                    k: torch.tensor(v, dtype=torch.float64, requires_grad=True) for k, v in case["parameters"].items()
                }
                logits = torch_forward(tensors, activation, torch.tensor(case["x"], dtype=torch.float64))
                value = torch_loss(loss, logits, torch.tensor(case["y"]))
                value.backward()
                case |= {"activation": activation, "loss": loss, "value": value.item()}
                case["gradients"] = {k: t.grad.tolist() for k, t in tensors.items()}
                cases.append(case)
    return cases


def bowl(w: list) -> tuple:
    """A smooth function of four numbers and its gradient, in whatever arithmetic `w` is in."""
    loss, gradient = 0, []
    for i, x in enumerate(w):
        d = x - (i - 1)
        loss += (i + 1) * d * d / 2 + d**4 / 10
        gradient.append((i + 1) * d + 2 * d**3 / 5)
    return loss, gradient


START = [2.0, -1.5, 0.25, 3.0]
TORCH_RULES = {
    "sgd": (torch.optim.SGD, {"lr": 0.01}, {"learning_rate": 0.01}),
    "momentum": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.8}, {"learning_rate": 0.01, "momentum": 0.8}),
    "nag": (torch.optim.SGD, {"lr": 0.01, "momentum": 0.8, "nesterov": True}, {"learning_rate": 0.01, "momentum": 0.8}),
    "rmsprop": (
        torch.optim.RMSprop,
        {"lr": 0.01, "alpha": 0.95, "eps": 1e-3},
        {"learning_rate": 0.01, "beta": 0.95, "epsilon": 1e-3},
    ),
    "adagrad": (torch.optim.Adagrad, {"lr": 0.1, "eps": 1e-3}, {"learning_rate": 0.1, "epsilon": 1e-3}),
    "radam": (
        torch.optim.RAdam,
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3},
        {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3},
    ),
    "adam": (
        torch.optim.Adam,
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3},
        {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-3},
    ),
}


def torch_trajectory(make: type, options: dict) -> list[list[float]]:
    """The weights after each step; weight decay by PyTorch's own option."""
    w = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = make([w], weight_decay=WEIGHT_DECAY, **options)
    places = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss, _ = bowl([w[i] for i in range(4)])
        loss.backward()
        optimizer.step()
        places.append(w.tolist())
    return places


def lion_trajectory(o: dict) -> list[list[float]]:
    """Lion (algorithm 2 of arXiv 2302.06675 without its decay, which is L2 here), in 40-digit arithmetic."""
    mpmath.mp.dps = 40
    o = {key: mpmath.mpf(str(value)) for key, value in o.items()}
    w, m, places = [mpmath.mpf(str(x)) for x in START], [mpmath.mpf(0)] * 4, []
    for _ in range(STEPS):
        _, gradient = bowl(w)
        for i in range(4):
            g = gradient[i] + mpmath.mpf(str(WEIGHT_DECAY)) * w[i]
            c = o["beta1"] * m[i] + (1 - o["beta1"]) * g
            w[i] -= o["learning_rate"] * mpmath.sign(c)
            m[i] = o["beta2"] * m[i] + (1 - o["beta2"]) * g
        places.append([float(x) for x in w])
    return places


def paper_trajectory(name: str, o: dict) -> list[list[float]]:
    """Nadam (Dozat's simple form) and Eve (arXiv 1611.01505 v3), one number at a time, in 40-digit arithmetic."""
    mpmath.mp.dps = 40
    o = {key: mpmath.mpf(str(value)) for key, value in o.items()}
    w = [mpmath.mpf(str(x)) for x in START]
    m, v, distance, last = [mpmath.mpf(0)] * 4, [mpmath.mpf(0)] * 4, mpmath.mpf(1), None
    places = []
    for t in range(1, STEPS + 1):
        loss, gradient = bowl(w)
        if name == "eve" and last is not None:
            d = abs(loss - last) / (min(loss, last) - o["loss_floor"])
            d = min(max(d, 1 / o["change_limit"]), o["change_limit"])
            distance = o["beta3"] * distance + (1 - o["beta3"]) * d
        last = loss
        for i in range(4):
            g = gradient[i] + mpmath.mpf(str(WEIGHT_DECAY)) * w[i]
            m[i] = o["beta1"] * m[i] + (1 - o["beta1"]) * g
            v[i] = o["beta2"] * v[i] + (1 - o["beta2"]) * g**2
            m_hat, v_hat = m[i] / (1 - o["beta1"] ** t), v[i] / (1 - o["beta2"] ** t)
            if name == "nadam":
                m_hat = o["beta1"] * m_hat + (1 - o["beta1"]) * g / (1 - o["beta1"] ** t)
            w[i] -= o["learning_rate"] / distance * m_hat / (mpmath.sqrt(v_hat) + o["epsilon"])
        places.append([float(x) for x in w])
    return places


def main() -> None:
    """Compute everything and write the file."""
    random = np.random.default_rng(7)
    trajectories = {
        name: {"options": ours, "places": torch_trajectory(make, theirs)}
        for name, (make, theirs, ours) in TORCH_RULES.items()
    }
    common = {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "epsilon": 0.001}
    for name, extra in (("nadam", {}), ("eve", {"beta3": 0.9, "change_limit": 4.0, "loss_floor": 0.05})):
        options = {**common, **extra}
        trajectories[name] = {"options": options, "places": paper_trajectory(name, options)}
    options = {"learning_rate": 0.013, "beta1": 0.8, "beta2": 0.95}
    trajectories["lion"] = {"options": options, "places": lion_trajectory(options)}
    golden = {
        "made_with": {"torch": torch.__version__, "mpmath": mpmath.__version__, "numpy": np.__version__},
        "start": START,
        "weight_decay": WEIGHT_DECAY,
        "trajectories": trajectories,
        "gradients": gradient_cases(random),
    }
    FILE.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
