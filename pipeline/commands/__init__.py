"""Groups of the command line and what they share. `pipeline/__main__.py` assembles them; nothing else imports them."""
