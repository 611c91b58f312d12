"""Train a network: `python train.py --help`. The same program as `chainrule train`."""

import sys


def train() -> int:
    """Run the train command, or say what is missing."""
    try:
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


if __name__ == "__main__":
    sys.exit(train())
