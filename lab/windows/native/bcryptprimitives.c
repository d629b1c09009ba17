/*
 * bcryptprimitives.dll: random bytes for programs written in Go, whose runtime loads this library before anything else
 * and asks it for ProcessPrng alone. Wine has it from version 9 on; hosts here have 8.
 * Source for both: Go's runtime/os_windows.go; Wine's dlls/bcryptprimitives.
 */
#include <windows.h>

/* RtlGenRandom's name in advapi32; the header that declares it is not part of every mingw. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

#define LARGEST_REQUEST 0x10000000u

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length)
{
    while (length > 0) {
        ULONG part = length < LARGEST_REQUEST ? (ULONG)length : LARGEST_REQUEST;

        if (!SystemFunction036(buffer, part)) {
            return FALSE;
        }
        buffer += part;
        length -= part;
    }
    return TRUE;
}
