"""What is kept between sessions: records in a database, pictures as files, and the promises about both.

`store` is what others open; `studies` and `study_reading` are its part for photos, `jobs` for work under way; `schema`,
`migrations` and the modules of rows are its tables, `decisions` and `queue` what the log and the lists mean,
`maintenance` the care of it all. Knows no model and no page.
"""
