"""What the machine says no with: Windows' own error numbers."""

from __future__ import annotations

#: Numbers of winerror.h, with the texts that FormatMessage has for them in English.
FILE_NOT_FOUND = 2
PATH_NOT_FOUND = 3
ACCESS_DENIED = 5
NOT_SAME_DEVICE = 17
WRITE_PROTECT = 19
NOT_READY = 21
SHARING_VIOLATION = 32
BAD_NETPATH = 53
FILE_EXISTS = 80
INVALID_PARAMETER = 87
DISK_FULL = 112
INVALID_NAME = 123
DIR_NOT_EMPTY = 145
ALREADY_EXISTS = 183
FILENAME_EXCED_RANGE = 206
FILE_TOO_LARGE = 223
DIRECTORY = 267
KEY_DELETED = 1018
SERVICE_DOES_NOT_EXIST = 1060

TEXTS = {
    FILE_NOT_FOUND: "The system cannot find the file specified.",
    PATH_NOT_FOUND: "The system cannot find the path specified.",
    ACCESS_DENIED: "Access is denied.",
    NOT_SAME_DEVICE: "The system cannot move the file to a different disk drive.",
    WRITE_PROTECT: "The media is write protected.",
    NOT_READY: "The device is not ready.",
    SHARING_VIOLATION: "The process cannot access the file because it is being used by another process.",
    BAD_NETPATH: "The network path was not found.",
    FILE_EXISTS: "The file exists.",
    INVALID_PARAMETER: "The parameter is incorrect.",
    DISK_FULL: "There is not enough space on the disk.",
    INVALID_NAME: "The filename, directory name, or volume label syntax is incorrect.",
    DIR_NOT_EMPTY: "The directory is not empty.",
    ALREADY_EXISTS: "Cannot create a file when that file already exists.",
    FILENAME_EXCED_RANGE: "The filename or extension is too long.",
    FILE_TOO_LARGE: "The file size exceeds the limit allowed and cannot be saved.",
    DIRECTORY: "The directory name is invalid.",
    KEY_DELETED: "Illegal operation attempted on a registry key that has been marked for deletion.",
    SERVICE_DOES_NOT_EXIST: "The specified service does not exist as an installed service.",
}


class Win32Error(Exception):
    """A call that failed with a number of winerror.h; `subject` is the path or name that it was about."""

    def __init__(self, code: int, subject: str = "") -> None:
        super().__init__(f"{TEXTS[code]} (error {code}){f': {subject}' if subject else ''}")
        self.code = code
        self.subject = subject

    @property
    def text(self) -> str:
        """What FormatMessage gives for the number, in English."""
        return TEXTS[self.code]

    @property
    def hresult(self) -> int:
        """HRESULT_FROM_WIN32, as the signed number that .NET shows."""
        return (0x80070000 | self.code) - 2**32


class ComError(Exception):
    """A call that failed with an HRESULT of its component, such as the Task Scheduler's 0x80041318."""

    def __init__(self, hresult: int, text: str) -> None:
        super().__init__(f"{text} (0x{hresult:08X})")
        self.hresult = hresult
        self.text = text


class NotModelled(Exception):
    """Something was asked of the machine that the model does not know: never an answer that a script may go on with."""
