"""The machine's sshd: asyncssh in front of what Win32-OpenSSH (OpenSSH for Windows 9.5) does behind it.

    python3 -m lab.windows.ssh                      what the host's service runs: the machine, its sshd, its PowerShell
    python3 -m lab.windows.ssh fault forbid-sftp    one of the bad days of `faults`

How a command becomes a command line is `commandline`; who may log on, `logon`; what ends when, `jobs` and `session`;
files, `sftp`. Sources are in github.com/PowerShell/openssh-portable; each module names those that it follows.
"""
