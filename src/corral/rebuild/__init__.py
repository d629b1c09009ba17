"""From a host with nothing but sshd and a key to one that deploys/r1.py can set up: clock, name, packages, driver.

`system` is what is asked, `bare`, `nvidia` and `amd` judge it without I/O, `stages` puts them in their order.
"""
