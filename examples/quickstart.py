"""Train a small network on scikit-learn's digits through the Python API: `python examples/quickstart.py`."""

from chainrule import Adam, NeuralNetwork, load_dataset


def main() -> None:
    """Load the data, train, print the history, test."""
    # Three seeds: of the validation split, the initial weights and the shuffling.
    data = load_dataset("digits", seed=0)
    network = NeuralNetwork([64, 32, 10], activation="ReLU", weight_init="He", loss="cross_entropy", seed=0)
    history = network.fit(
        data.x_train,
        data.y_train,
        validation_data=(data.x_val, data.y_val),
        optimizer=Adam(learning_rate=0.005),
        epochs=10,
        batch_size=16,
        seed=0,
    )

    print("epoch  train loss  validation accuracy")
    for record in history:
        print(f"{record.epoch:5}  {record.train_loss:10.4f}  {record.val_score:19.1%}")

    # The test set is evaluated once, after every choice has been made.
    test = network.evaluate(data.x_test, data.y_test)
    print(f"test accuracy {test.score:.1%}")
    print(f"first test sample: predicted {network.predict(data.x_test[:1])[0]}, true class {data.y_test[0]}")


if __name__ == "__main__":
    main()
