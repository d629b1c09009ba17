"""The service that runs Ollama on a host."""
