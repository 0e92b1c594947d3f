"""The pages: one folder each, whose `build(demo, desk)` draws and wires it. Pages know each other by address only."""
