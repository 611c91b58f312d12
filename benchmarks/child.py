"""A process that holds one object and answers calls: `python child.py module:Class '{"argument": 1}'`.

It reads a line of JSON, {"call": method, "arguments": {...}}, and writes one, {"result": ...} or {"error": "..."}.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def main() -> None:
    """Construct the object and answer calls until the input ends."""
    # Output of libraries goes to standard error, so that standard output holds answers only.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    module, name = sys.argv[1].split(":")
    target = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if target is None:
                target = getattr(importlib.import_module(module), name)(**json.loads(sys.argv[2]))
            method = request["call"]
            answer = {"result": getattr(target, method)(**request["arguments"]) if method else None}
        except Exception as error:
            text = str(error).strip().splitlines()
            answer = {"error": f"{type(error).__name__}: {text[0] if text else ''}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
