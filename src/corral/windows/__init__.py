"""Windows hosts over OpenSSH and PowerShell: a protocol, facts and operations that need no Ollama.

    powershell   the protocol: one constant command line, a script and its values over standard input, the answer
    clixml       what PowerShell writes on standard error, as plain lines
    scripting    a PowerShell script as a command of pyinfra's
    facts        what is on a Windows host, for `host.get_fact`
    operations   pyinfra's operations that make sense there, with the same arguments

The connector for `@windows/NAME` is corral.connectors.windows.
"""
