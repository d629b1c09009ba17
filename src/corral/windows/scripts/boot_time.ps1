# When Windows was started, in units of 100 ns since 1601.
Emit-Json 'result' (Get-CimInstance -ClassName Win32_OperatingSystem).LastBootUpTime.ToFileTimeUtc()
