"""Pictures: reconstructions of every kind of signal, forecasts, position maps, curves, segmentations, comparisons.

Every `draw_*` function takes plain arrays (NumPy, or tensors on any device) and returns a matplotlib `Figure` that
belongs to no window and no pyplot state; `hiperceiver.plots.style.save_picture` writes it. A wrong shape is a one-line
`ValueError`.

| module | what it draws |
| --- | --- |
| `reconstructions` | input, visible part, reconstruction and error: pictures, videos, volumes |
| `signals` | the same of lines: sound, series, feature vectors |
| `points` | the same of clouds of points |
| `texts` | the same of texts and other bytes |
| `forecasts` | past, forecast and true future of a series |
| `positions` | position tables: similarity maps and principal components |
| `curves` | losses and metrics over training steps, of one run or several |
| `segmentation` | input, label and prediction side by side; a prediction as a picture with a palette |
| `comparison` | results side by side, with their spread |
"""
