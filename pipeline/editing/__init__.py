"""The editing engine: a picture, its caption and edited captions -> edited pictures (prompt-to-prompt)."""
