"""`python -m benchmarks`."""

import sys
from importlib import import_module

COMMANDS = {"compare": "benchmarks.compare", "gpu": "benchmarks.gpu.command"}
"""First word -> where its `main` lives; without one of these it is `benchmarks.command`. Some need few packages."""

if __name__ == "__main__":
    word, rest = sys.argv[1:2], sys.argv[2:]
    if word and word[0] in COMMANDS:
        sys.exit(import_module(COMMANDS[word[0]]).main(rest))
    sys.exit(import_module("benchmarks.command").main())
