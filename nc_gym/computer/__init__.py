"""The neural computer. Knows nothing of Gymnasium, bash or X11: pixels and events, and that a desktop has windows.

A desktop's network names its windows (state, title, place in a list, box) in a table, and what each showed is kept; see
"Known departures" in docs/design-notes.md.
"""
