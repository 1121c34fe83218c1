"""Pictures of position tables in the run folder, as they are learned."""

import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from hiperceiver.probing import table_locality
from hiperceiver.settings.base import one_line
from hiperceiver.tasks import Task
from hiperceiver.training.observers import learned_tables

MOST_STEPS = 12
"""Steps of which pictures are kept: of more, those between are thinned out, so that they stay spread over the run."""
_LARGEST_SHARE = 0.02  # of the time since the run began, for drawing; the first pictures are free
_MOST_AXES = 3


class PositionMaps:
    """Draws learned tables before the first step and at validations, as `step-000500-MODALITY.png` in a folder.

    It costs at most a fiftieth of the run's time and never ends a run: what cannot be drawn is said once, on standard
    error. Grids of more than 3 axes are not drawn.
    """

    num_examples = 0

    def __init__(self, folder: Path):
        self.folder = folder
        self._began, self._seconds, self._has_failed = time.monotonic(), 0.0, False

    def __call__(self, task: Task, step: int) -> Mapping[str, float]:
        """Draw, if there is time; no numbers."""
        started = time.monotonic()
        is_affordable = self._seconds <= _LARGEST_SHARE * (started - self._began)
        if not self._has_failed and (step == 0 or is_affordable):
            try:
                self._draw(task, step)
            except (ImportError, OSError, ValueError) as error:  # a run is worth more than its pictures
                self._has_failed = True
                print(f"hip: note: no pictures of positions: {one_line(error)}", file=sys.stderr)
            if step > 0:
                self._seconds += time.monotonic() - started
        return {}

    def _draw(self, task: Task, step: int) -> None:
        tables = {name: each for name, each in learned_tables(task).items() if len(each[0]) <= _MOST_AXES}
        if not tables:
            return
        from hiperceiver.plots.positions import draw_snapshot
        from hiperceiver.plots.style import save_picture

        for name, (grid, table) in tables.items():
            near, far, share, chance, _ = table_locality(table, grid)
            title = f"positions of {name!r}, {' x '.join(map(str, grid))}, step {step}"
            note = f"cosine of neighbours {near:.2f}, of far places {far:.2f}; "
            note += f"the nearest row is a neighbour: {share:.1%} (chance {chance:.1%})"
            figure = draw_snapshot(table, grid, title=title, note=note)
            self.folder.mkdir(exist_ok=True)  # not the run folder, which somebody may have removed
            save_picture(figure, self.folder / f"step-{step:06}-{_as_word(name)}.png")
        self._thin_out()

    def _thin_out(self) -> None:
        """Remove pictures of steps that lie close to others, never of the first or the last."""
        pictures: dict[int, list[Path]] = {}
        for path in sorted(self.folder.glob("step-*.png")):
            pictures.setdefault(int(path.name.split("-")[1].removesuffix(".png")), []).append(path)
        while len(pictures) > MOST_STEPS:
            steps = sorted(pictures)
            crowded = min(range(1, len(steps) - 1), key=lambda k: steps[k + 1] - steps[k - 1])
            for path in pictures.pop(steps[crowded]):
                path.unlink()


def _as_word(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name)
