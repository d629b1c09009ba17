"""One question per host: what is there? The script, and the typed answer."""
