"""Train a network with the defaults of the course: `python train.py --help`.

The same program as `chainrule train`, which has other defaults.
"""

import signal
import sys
import threading

# Those of the assignment. Hyperparameters are used by the optimizers that have them.
COURSE_DEFAULTS = {
    "dataset": "fashion_mnist",
    "epochs": 10,
    "batch_size": 16,
    "loss": "cross_entropy",
    "optimizer": "rmsprop",
    "learning_rate": 0.0001,
    "weight_decay": 0.0005,
    "momentum": 0.9,
    "beta": 0.9,
    "beta1": 0.9,
    "beta2": 0.999,
    "epsilon": 0.000001,
    "weight_init": "Xavier",
    "num_layers": 4,
    "hidden_size": 128,
    "activation": "ReLU",
    "wandb_project": "DA6401_A1",
    "wandb_mode": "auto",
}


def train() -> int:
    """Run the train command, or say what is missing."""
    try:
        sys.unraisablehook = repeat_interrupt
        # Imported here because half a second of imports can be interrupted, too.
        from pathlib import Path

        # Makes this work in a fresh clone, and always with the code beside it.
        sys.path.insert(0, str(Path(__file__).parent / "src"))
        from chainrule.cli import main

        return main(["train", *sys.argv[1:]], program="python train.py", defaults=COURSE_DEFAULTS)
    except ModuleNotFoundError as error:
        if str(error.name).startswith("chainrule"):
            raise
        sys.stderr.write(
            f"error: {error.name} is not installed for {sys.executable}.\n"
            "Run `make install`, then use .venv/bin/python.\n"
        )
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
        return 130


def repeat_interrupt(dropped: "sys.UnraisableHookArgs") -> None:
    """Repeat a Ctrl-C that arrived in a callback, such as the import system's: Python drops and only prints it."""
    if dropped.exc_type is KeyboardInterrupt:
        # Delayed, because this runs inside of that callback.
        main = threading.main_thread().ident
        threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(dropped)


if __name__ == "__main__":
    sys.exit(train())
