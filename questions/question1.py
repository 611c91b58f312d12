"""Question 1: one image of each class of Fashion-MNIST, in a labeled grid."""

import numpy as np
from study import Study

from chainrule.charts.chart import ImageGrid, encode_png


def main() -> None:
    """Show the first training image of each class."""
    study = Study(__file__, __doc__)
    data = study.load_data()
    first = [int(np.flatnonzero(data.y_train == number)[0]) for number in range(len(data.classes))]
    images = [encode_png(data.x_train[index].reshape(data.image_shape)) for index in first]
    counts = np.bincount(data.y_train).tolist()
    numbers = {
        "classes": list(data.classes),
        "positions": [int(data.train_indices[index]) for index in first],
        "training": len(data.y_train),
        "validation": len(data.y_val),
        "test": len(data.y_test),
        "of_each_class": counts,
        "pixels": data.x_train.shape[1],
        "mean_brightness": {
            name: float(data.x_train[data.y_train == number].mean()) for number, name in enumerate(data.classes)
        },
    }
    study.store(numbers, {"samples": ImageGrid(images, data.classes, columns=5)})


if __name__ == "__main__":
    main()
