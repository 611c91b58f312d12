"""Question 2: networks of any depth and width turn an image into a distribution over the ten classes."""

import numpy as np
from study import Study

from chainrule import NeuralNetwork
from chainrule.charts.chart import ImageGrid, encode_png

SHAPES = [(32,), (128, 128, 128), (256, 128, 64, 32)]


def main() -> None:
    """Show the probabilities that untrained networks predict for a few images, and their mean loss."""
    study = Study(__file__, __doc__)
    data = study.load_data()
    networks = [NeuralNetwork([784, *hidden, 10], "ReLU", "Xavier", seed=0) for hidden in SHAPES]
    numbers = {
        "networks": [
            {
                "sizes": network.sizes,
                "parameters": network.parameters.flat.size,
                "loss": network.loss_and_gradients(data.x_val, data.y_val)[0],
                "row_sums_off_by": float(np.abs(network.predict_proba(data.x_val).sum(axis=1) - 1).max()),
            }
            for network in networks
        ],
        "loss_of_guessing": float(np.log(len(data.classes))),
    }
    few = data.x_test[:4]
    answers = networks[1].predict_proba(few)
    numbers["highest"] = float(answers.max())
    images = [encode_png(image.reshape(data.image_shape)) for image in few]
    titles = [data.classes[label] for label in data.y_test[:4]]
    study.store(numbers, {"probabilities": ImageGrid(images, titles, 2, answers.tolist(), data.classes)})


if __name__ == "__main__":
    main()
