"""An Ollama that somebody else has put on a host: what it is, and how install.sh's becomes corral's."""
