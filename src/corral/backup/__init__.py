"""What a host has and nothing can bring again: models that no registry has, its key, settings that people made there.

`vault` keeps files, here or on another host; `record` says what was saved; `saving` and `restoring` are the two steps.
"""
