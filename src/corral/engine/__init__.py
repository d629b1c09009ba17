"""Asking Ollama's own engine on a host what a model will take there, before the model is there."""
