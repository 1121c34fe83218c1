"""`python -m hiperceiver.cli` is `hip`."""

import sys

from hiperceiver.cli.entry import main

sys.exit(main())
