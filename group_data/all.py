"""Settings that all hosts share, as Python; see README for every key. group_data/GROUP.py is for one group.

What the YAML says for a host or a group wins over this, and this over the YAML's `defaults`.

    ollama_version = "0.34.4"
    environment = {"OLLAMA_KEEP_ALIVE": "24h"}
    allow_from = ["192.168.1.0/24"]
"""
