"""Train a network: `python train.py --help`. The same program as `chainrule train`."""

import signal
import sys
import threading


def train() -> int:
    """Run the train command, or say what is missing."""
    try:
        sys.unraisablehook = press_again
        # Imported in here because half a second of imports can be interrupted too.
        from pathlib import Path

        # So that this works in a fresh clone, and always runs the code beside it.
        sys.path.insert(0, str(Path(__file__).parent / "src"))
        from chainrule.cli import main

        return main(["train", *sys.argv[1:]], program="python train.py")
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


def press_again(dropped: "sys.UnraisableHookArgs") -> None:
    """Repeat a Ctrl-C that arrived in a callback, such as the import system's; Python drops it and prints that."""
    if dropped.exc_type is KeyboardInterrupt:
        # A moment later, for this runs inside of that callback still.
        main = threading.main_thread().ident
        threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(dropped)


if __name__ == "__main__":
    sys.exit(train())
