"""Ollama itself: its releases, their installation, its API and its models."""
