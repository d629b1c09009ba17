/*
 * powershell.exe of the lab's Windows machines: no PowerShell, only its place. It hands its own command line exactly as
 * it got it, its directory, its environment and its standard streams to the stand-in, which listens on this machine's
 * loopback interface (lab/windows/ssh/loopback.py), plays back what comes from there while it comes, and ends with the
 * exit code that it is told. When it is killed, the stand-in notices and ends the script.
 *
 * Both directions carry frames: one byte that says what it is, four of length (big-endian), then so many bytes.
 *
 *     to the stand-in    C  command line     D  directory     V  one variable, NAME=value     S  that was all: start
 *                        I  standard input, as soon as there is some; an empty frame is its end
 *     from there         O  standard output     E  standard error     X  the exit code, four bytes (big-endian)
 *
 * Texts are UTF-8. Output that nobody reads any more is dropped, as .NET's console streams do; the script goes on.
 *
 * Link with -municode -lws2_32.
 */
#include <winsock2.h>
#include <windows.h>
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

#define PORT 47000
#define CHUNK 65536
/* What Windows gives a program that could not be initialised: STATUS_DLL_INIT_FAILED. */
#define NO_STAND_IN 0xC0000142u

static SOCKET stand_in = INVALID_SOCKET;

static void give_up(const char *what)
{
    fprintf(stderr, "powershell.exe of the lab: %s, error %d\n", what, WSAGetLastError());
    ExitProcess(NO_STAND_IN);
}

static void send_all(const char *data, int length)
{
    while (length > 0) {
        int sent = send(stand_in, data, length, 0);

        if (sent <= 0) {
            /* The stand-in was killed, and the script with it. */
            ExitProcess(1);
        }
        data += sent;
        length -= sent;
    }
}

static void send_frame(char kind, const char *data, int length)
{
    u_long size = htonl((u_long)length);

    send_all(&kind, 1);
    send_all((const char *)&size, sizeof(size));
    send_all(data, length);
}

static void send_text(char kind, const wchar_t *text)
{
    int length = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *encoded = malloc((size_t)length);

    if (encoded == NULL) {
        give_up("no memory");
    }
    WideCharToMultiByte(CP_UTF8, 0, text, -1, encoded, length, NULL, NULL);
    send_frame(kind, encoded, length - 1);
    free(encoded);
}

static void receive_all(char *data, int length)
{
    while (length > 0) {
        int got = recv(stand_in, data, length, 0);

        if (got <= 0) {
            ExitProcess(1);
        }
        data += got;
        length -= got;
    }
}

/* Whatever comes in goes to the stand-in, until the end of standard input; runs beside main. */
static DWORD WINAPI forward_input(void *input)
{
    static char data[CHUNK];
    DWORD got;

    while (ReadFile((HANDLE)input, data, CHUNK, &got, NULL) && got > 0) {
        send_frame('I', data, (int)got);
    }
    send_frame('I', data, 0);
    return 0;
}

static void write_all(HANDLE output, const char *data, DWORD length)
{
    DWORD written;

    while (length > 0 && WriteFile(output, data, length, &written, NULL) && written > 0) {
        data += written;
        length -= written;
    }
}

static void connect_to_stand_in(void)
{
    struct sockaddr_in address = {0};
    WSADATA data;

    if (WSAStartup(MAKEWORD(2, 2), &data) != 0) {
        give_up("no sockets");
    }
    stand_in = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_family = AF_INET;
    address.sin_port = htons(PORT);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (stand_in == INVALID_SOCKET || connect(stand_in, (struct sockaddr *)&address, sizeof(address)) != 0) {
        give_up("the stand-in does not answer");
    }
}

static void send_start(void)
{
    wchar_t directory[32768];
    const wchar_t *variable;
    wchar_t *block = GetEnvironmentStringsW();

    send_text('C', GetCommandLineW());
    if (GetCurrentDirectoryW(32768, directory) == 0) {
        give_up("no current directory");
    }
    send_text('D', directory);
    for (variable = block; *variable != L'\0'; variable += wcslen(variable) + 1) {
        send_text('V', variable);
    }
    FreeEnvironmentStringsW(block);
    send_frame('S', "", 0);
}

int wmain(void)
{
    static char data[CHUNK];

    connect_to_stand_in();
    send_start();
    if (CreateThread(NULL, 0, forward_input, GetStdHandle(STD_INPUT_HANDLE), 0, NULL) == NULL) {
        give_up("no thread");
    }
    for (;;) {
        char kind;
        u_long size;

        receive_all(&kind, 1);
        receive_all((char *)&size, sizeof(size));
        size = ntohl(size);
        if (kind == 'X') {
            u_long code;

            receive_all((char *)&code, sizeof(code));
            ExitProcess((UINT)ntohl(code));
        }
        while (size > 0) {
            int part = size < CHUNK ? (int)size : CHUNK;

            receive_all(data, part);
            write_all(GetStdHandle(kind == 'E' ? STD_ERROR_HANDLE : STD_OUTPUT_HANDLE), data, (DWORD)part);
            size -= (u_long)part;
        }
    }
}
