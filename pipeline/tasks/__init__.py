"""What jobs do with the stages on a store, and what comes ready-made: the demo, and recipes of single edits.

`studio` saves what each stage gives; `studying`, `training` and `adding` are the jobs, `kinds` lists them, `tasks` is
what they have in common. Knows no page and no command.
"""
