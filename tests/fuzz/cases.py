"""How many cases there are, and what may be said of them."""

import os
import re

TIMES = float(os.environ.get("HIPERCEIVER_FUZZ", "1"))
"""As many times as many cases as usual."""
FIRST_SEED = 1_000_000 * int(os.environ.get("HIPERCEIVER_TEST_SEED", "0"))
LONGEST = 1000  # letters of a message
OBEYED = re.compile("[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""What a terminal would obey."""
