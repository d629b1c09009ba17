"""A kind of lab host that behaves as a Windows machine as far as corral can see it.

Four parts, one directory each: `powershell` executes the text of scripts, `machine` holds what they act on (registry,
scheduled tasks, firewall, files, processes), `commands` joins both as cmdlets and executables, `ssh` answers the
connections. They run on the host's own python3, without gevent and without corral.
"""
