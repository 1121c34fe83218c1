"""Makes the modules beside the tests importable: `small_models` and `literal_hip`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
