"""`python -m benchmarks`."""

import sys

from benchmarks import command, compare

if __name__ == "__main__":
    sys.exit(compare.main(sys.argv[2:]) if sys.argv[1:2] == ["compare"] else command.main())
