"""Point clouds turned, stretched, shaken and thinned out. Only x, y and z change: normals and other features stay."""

from typing import Any, ClassVar

import numpy as np

from hiperceiver.data.augment.augmentation import Augmentation, rotation_about
from hiperceiver.settings.augment import DropPointsSettings, JitterSettings, RotateSettings, ScaleSettings


class _Linear(Augmentation):
    """Clouds are multiplied by the drawn matrix (3, 3) about their middle."""

    kinds: ClassVar[tuple[str, ...]] = ("points",)

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        places = value[:, :3].astype(np.float64)
        middle = places.mean(0)
        return _with_places(value, (places - middle) @ draw.T + middle)


class Rotate(RotateSettings, _Linear):
    """Clouds turn about an axis through their middle; all clouds of an example by the same angle.

    >>> cloud = np.array([[1, 0, 0], [-1, 0, 0]], dtype=np.float32)
    >>> turned = Rotate()({"cloud": cloud}, {"cloud": "points"}, np.random.default_rng(0))["cloud"]
    >>> np.linalg.norm(turned, axis=1), turned[:, 2]
    (array([1., 1.], dtype=float32), array([0., 0.], dtype=float32))
    """

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        axis = rng.standard_normal(3) if self.axis == "any" else np.eye(3)["xyz".index(self.axis)]
        return rotation_about(axis, rng.uniform(-self.degrees, self.degrees))


class Scale(ScaleSettings, _Linear):
    """Clouds are stretched about their middle, along each axis by a factor of its own; all clouds of an example alike.

    One factor for all axes would be undone where an encoder brings every cloud to the same size.

    >>> cloud = np.array([[1, 1, 1], [-1, -1, -1]], dtype=np.float32)
    >>> Scale(factors=(2, 2))({"cloud": cloud}, {"cloud": "points"}, np.random.default_rng(0))["cloud"][0]
    array([2., 2., 2.], dtype=float32)
    """

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return np.diag(rng.uniform(*self.factors, size=3))


class Jitter(JitterSettings, Augmentation):
    """Every point moves a little, in a direction of its own. Lengths are shares of the cloud's radius.

    >>> cloud = np.array([[1, 0, 0], [-1, 0, 0]], dtype=np.float32)
    >>> shaken = Jitter()({"cloud": cloud}, {"cloud": "points"}, np.random.default_rng(0))["cloud"]
    >>> bool(0 < np.abs(shaken - cloud).max() <= 0.05)
    True
    """

    kinds: ClassVar[tuple[str, ...]] = ("points",)

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        places = value[:, :3]
        radius = np.linalg.norm(places - places.mean(0), axis=1).max()
        steps = rng.normal(0, self.sigma, places.shape).clip(-self.limit, self.limit)
        return _with_places(value, places + radius * steps)


class DropPoints(DropPointsSettings, Augmentation):
    """Some points are left out. Those that stay keep their order, and one stays always.

    >>> cloud = np.zeros((100, 3), dtype=np.float32)
    >>> DropPoints()({"cloud": cloud}, {"cloud": "points"}, np.random.default_rng(0))["cloud"].shape
    (68, 3)
    """

    kinds: ClassVar[tuple[str, ...]] = ("points",)

    def _change(self, value: Any, kind: str, draw: Any, rng: np.random.Generator) -> Any:
        num_kept = max(1, round(len(value) * (1 - rng.uniform(0, self.share))))
        return value[np.sort(rng.permutation(len(value))[:num_kept])]


def _with_places(cloud: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The cloud with other x, y and z and its own features."""
    return np.concatenate([places.astype(cloud.dtype), cloud[:, 3:]], axis=1)
