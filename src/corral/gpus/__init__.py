"""A host's GPUs: what they are, what memory they have, who holds it, and what keeps Ollama from using them."""
