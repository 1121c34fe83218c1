"""Baselines: what is reached without any network. A table that shows a model shows its baseline beside it."""

from hiperceiver.data.baselines.pictures import colour_lookup_baseline, nearest_neighbour_baseline
from hiperceiver.data.baselines.signals import naive_bayes_baseline, nearest_sound_baseline, ridge_baseline

__all__ = [
    "colour_lookup_baseline",
    "naive_bayes_baseline",
    "nearest_neighbour_baseline",
    "nearest_sound_baseline",
    "ridge_baseline",
]
