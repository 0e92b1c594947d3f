"""What jobs do with the stages on a store, and what comes ready-made: the demo, and recipes of single edits.

`studio` saves what each stage gives, `tasks` and `training` are the kinds of jobs. Knows no page and no command.
"""
