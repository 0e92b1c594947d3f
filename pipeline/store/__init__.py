"""What is kept between sessions: records in a database, pictures as files, and the promises about both.

`store` is what others open; `studies` its part for photos, `jobs` for work under way; `tables`, `study_rows`,
`entry_rows` and `migrations` are the schema, `decisions` and `triage` what the log and the lists mean, `upkeep` the
care of it all. Knows no model and no page.
"""
