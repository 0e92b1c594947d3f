"""Custom parts of the page, each one `gr.HTML` with its markup, look and behaviour in one file."""
