# When Windows was started, in units of 100 ns since 1601 (learn.microsoft.com, "Win32_OperatingSystem").
Emit-Json 'result' (Get-CimInstance -ClassName Win32_OperatingSystem).LastBootUpTime.ToFileTimeUtc()
