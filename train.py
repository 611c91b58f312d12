"""Train a network: `python train.py --help`. The same program as `chainrule train`."""

import sys
from pathlib import Path

# So that this works in a fresh clone, and always runs the code beside it.
sys.path.insert(0, str(Path(__file__).parent / "src"))

try:
    from chainrule.cli import main
except ModuleNotFoundError as error:
    if str(error.name).startswith("chainrule"):
        raise
    print(
        f"error: {error.name} is not installed in {sys.executable}. Run `make install`, then .venv/bin/python train.py"
    )
    sys.exit(1)

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
