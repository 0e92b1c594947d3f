"""The Jobs page: what is under way, what waits and how everything ended."""
