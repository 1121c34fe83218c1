"""Pictures: reconstructions of every kind of signal, forecasts, position maps, curves, segmentations, comparisons.

Every `draw_*` function takes plain arrays (NumPy, or tensors on any device) and returns a matplotlib `Figure` that
belongs to no window and no pyplot state; `plots.style.save_picture` writes it. A wrong shape is a one-line
`ValueError`.
"""
