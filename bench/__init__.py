"""How long runs take, next to how long the network itself takes: `make bench`."""
