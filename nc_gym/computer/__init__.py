"""The neural computer. Knows nothing of Gymnasium, bash or X11: only pixels and events."""
