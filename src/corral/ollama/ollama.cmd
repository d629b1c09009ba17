@rem Made by corral: runs the release of Ollama that current.txt names.
@setlocal
@set /p release=<"%~dp0current.txt"
@"%~dp0%release%\ollama.exe" %*
