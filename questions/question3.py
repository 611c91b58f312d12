"""Question 3: backpropagation with seven optimizers: their learning curves, and the gradients checked."""

from collections import defaultdict
from itertools import product

import numpy as np
from estimate import estimate_mean
from study import Study

from chainrule import NeuralNetwork
from chainrule.report.run_charts import build_learning_curves

OPTIMIZERS = ["sgd", "momentum", "nag", "rmsprop", "adam", "nadam", "eve"]
RATES, SEEDS = [0.00003, 0.0003, 0.003, 0.03, 0.3], [0, 1, 2]


def compute_gradient_error(x: np.ndarray, y: np.ndarray, activation: str, loss: str, step: float = 1e-5) -> float:
    """The largest error of any derivative, compared with central differences, relative to the largest derivative."""
    network = NeuralNetwork([784, 8, 6, 10], activation, "Xavier", loss, seed=1, dtype="float64")
    _, gradients = network.loss_and_gradients(x, y)
    largest = max(float(np.abs(gradient).max()) for gradient in gradients.values())
    worst = 0.0
    for name, gradient in gradients.items():
        for index in np.ndindex(gradient.shape):
            ends = []
            for move in (step, -2 * step, step):
                network.parameters[name][index] += move
                ends.append(network.loss_and_gradients(x, y)[0])
            worst = max(worst, abs((ends[0] - ends[1]) / (2 * step) - float(gradient[index])))
    return worst / largest


def main() -> None:
    """Check the gradients; train the same network with each optimizer at several learning rates."""
    study = Study(__file__, __doc__)
    data = study.load_data()
    x, y = data.x_train[:16].astype("float64"), data.y_train[:16]
    parts = product(("sigmoid", "tanh"), ("cross_entropy", "mean_squared_error"))
    checks = {f"{activation}, {loss}": compute_gradient_error(x, y, activation, loss) for activation, loss in parts}
    fixed = {"dataset": "fashion_mnist", "epochs": 10, "num_layers": 3, "hidden_size": 128, "batch_size": 32}
    grid = fixed | {"optimizer": OPTIMIZERS, "learning_rate": RATES, "seed": SEEDS}
    records = study.run_sweep("optimizers", grid, quick={"learning_rate": 0.0003, "seed": 0})
    groups = defaultdict(list)
    for record in records:
        groups[record.config["optimizer"], record.config["learning_rate"]].append(record)
    scores = {key: [record.get_metric("val_accuracy") or 0.0 for record in group] for key, group in groups.items()}
    best = {name: max(product([name], RATES), key=lambda key: sum(scores.get(key, [0.0]))) for name in OPTIMIZERS}
    first = {name: [record.history[0].val_score or 0.0 for record in groups[key]] for name, key in best.items()}
    means = {name: {"val_accuracy": scores[key], "first_epoch": first[name]} for name, key in best.items()}
    optimizers = {
        name: {"learning_rate": best[name][1]} | {metric: estimate_mean(values) for metric, values in found.items()}
        for name, found in means.items()
    }
    curves = {f"{name}, {key[1]:g}": [record.history for record in groups[key]] for name, key in best.items()}
    charts = {"accuracy": build_learning_curves(curves), "loss": build_learning_curves(curves, "train_loss")}
    study.store({"gradient_errors": checks, "optimizers": optimizers, "settings": fixed, "rates": RATES}, charts)


if __name__ == "__main__":
    main()
