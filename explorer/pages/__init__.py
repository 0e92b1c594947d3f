"""The pages: a folder each, whose module has TITLE, ROUTE and `build(demo, desk)`. They know each other by address."""
