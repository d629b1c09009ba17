/*
 * winsess.exe REQUEST: the half of an ssh session that has to be a program of Windows. Starts the session's shell with
 * exactly the command line, directory and environment in the file REQUEST, waits for it and ends when it does.
 *
 * REQUEST is UTF-16, fields that each end with a NUL: the command line as CreateProcess gets it, the directory, then
 * NAME=value for each variable. It is deleted once it was read. The shell's exit code goes to REQUEST.code in decimal,
 * for a process of Linux has no room for more than 8 bits of it. Exit code 255 and no such file: nothing was started.
 *
 * The job is that of Win32-OpenSSH (contrib/win32/win32compat/w32-doexec.c, do_exec_windows): whatever the shell starts
 * belongs to it, unless it breaks away; the only handle to it is the shell's, so that all of it ends with the shell.
 *
 * Without REQUEST it starts nothing and stays: while one program runs, Wine keeps its own services, whose start takes
 * seconds.
 *
 * Link with -municode.
 */
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

#define NOT_STARTED 255

/* The text of a whole file, one NUL more at its end; NULL where it cannot be read. */
static wchar_t *read_request(const wchar_t *path)
{
    HANDLE file = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ, NULL, OPEN_EXISTING, FILE_FLAG_DELETE_ON_CLOSE, NULL);
    DWORD size, got = 0;
    char *text;

    if (file == INVALID_HANDLE_VALUE) {
        return NULL;
    }
    size = GetFileSize(file, NULL);
    text = calloc(size + 2 * sizeof(wchar_t), 1);
    if (text == NULL || !ReadFile(file, text, size, &got, NULL) || got != size) {
        free(text);
        text = NULL;
    }
    CloseHandle(file);
    return (wchar_t *)text;
}

static void write_exit_code(const wchar_t *request, DWORD code)
{
    wchar_t path[MAX_PATH];
    FILE *file;

    if (_snwprintf(path, MAX_PATH, L"%ls.code", request) <= 0) {
        return;
    }
    file = _wfopen(path, L"wb");
    if (file != NULL) {
        fprintf(file, "%lu\n", code);
        fclose(file);
    }
}

/* A job that ends with its last handle, which is given to the process. */
static BOOL give_job(HANDLE process)
{
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};
    HANDLE job = CreateJobObjectW(NULL, NULL), copy;
    BOOL done;

    if (job == NULL) {
        return FALSE;
    }
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE | JOB_OBJECT_LIMIT_BREAKAWAY_OK;
    done = SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof(limits)) &&
           AssignProcessToJobObject(job, process) &&
           DuplicateHandle(GetCurrentProcess(), job, process, &copy, 0, FALSE, DUPLICATE_SAME_ACCESS);
    CloseHandle(job);
    return done;
}

int wmain(int count, wchar_t **arguments)
{
    STARTUPINFOW startup = {0};
    PROCESS_INFORMATION shell;
    wchar_t *command, *directory, *environment;
    DWORD code = NOT_STARTED;

    if (count == 1) {
        Sleep(INFINITE);
    }
    if (count != 2 || (command = read_request(arguments[1])) == NULL) {
        return NOT_STARTED;
    }
    directory = command + wcslen(command) + 1;
    environment = directory + wcslen(directory) + 1;
    startup.cb = sizeof(startup);
    startup.dwFlags = STARTF_USESTDHANDLES;
    startup.hStdInput = GetStdHandle(STD_INPUT_HANDLE);
    startup.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    startup.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    if (!CreateProcessW(NULL, command, NULL, NULL, TRUE, CREATE_SUSPENDED | CREATE_UNICODE_ENVIRONMENT, environment,
                        directory, &startup, &shell)) {
        fprintf(stderr, "winsess: CreateProcess failed with error %lu\n", GetLastError());
        return NOT_STARTED;
    }
    if (!give_job(shell.hProcess)) {
        fprintf(stderr, "winsess: no job for the session, error %lu\n", GetLastError());
        TerminateProcess(shell.hProcess, NOT_STARTED);
        return NOT_STARTED;
    }
    ResumeThread(shell.hThread);
    WaitForSingleObject(shell.hProcess, INFINITE);
    GetExitCodeProcess(shell.hProcess, &code);
    write_exit_code(arguments[1], code);
    return (int)code;
}
