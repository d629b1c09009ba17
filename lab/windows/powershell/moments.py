"""DateTime, DateTimeOffset and TimeSpan, in ticks of 100 ns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import total_ordering

TICKS_PER_SECOND = 10_000_000
_EPOCH = datetime(1, 1, 1)
UNIX_TICKS = 621_355_968_000_000_000
FILE_TIME_TICKS = 504_911_232_000_000_000
# How a date is shown to people, and in the JSON of what Get-Date gives.
SHOWN = "dddd, MMMM d, yyyy h:mm:ss tt"
_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip


@dataclass(frozen=True, order=True)
class TimeSpan:
    """A length of time."""

    ticks: int

    def __str__(self) -> str:
        sign = "-" if self.ticks < 0 else ""
        seconds, fraction = divmod(abs(self.ticks), TICKS_PER_SECOND)
        days, rest = divmod(seconds, 86400)
        text = f"{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}"
        return f"{sign}{f'{days}.' if days else ''}{text}{f'.{fraction:07d}' if fraction else ''}"

    @classmethod
    def seconds(cls, seconds: float) -> TimeSpan:
        """From seconds."""
        return cls(round(seconds * TICKS_PER_SECOND))

    @classmethod
    def parse(cls, text: str) -> TimeSpan:
        """From [-][d.]hh:mm[:ss[.fffffff]] or a number of days; raises ValueError."""
        found = re.fullmatch(r"\s*(-?)(?:(\d+)\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7}))?)?\s*", text)
        if not found:
            if re.fullmatch(r"\s*-?\d+\s*", text):
                return cls(int(text) * 86400 * TICKS_PER_SECOND)
            raise ValueError("String was not recognized as a valid TimeSpan.")
        sign, days, hours, minutes, seconds, fraction = found.groups()
        total = ((int(days or 0) * 24 + int(hours)) * 60 + int(minutes)) * 60 + int(seconds or 0)
        ticks = total * TICKS_PER_SECOND + int((fraction or "0").ljust(7, "0"))
        return cls(-ticks if sign else ticks)


@total_ordering
@dataclass(frozen=True, eq=False)
class DateTime:
    """A point in time; `kind` is Unspecified, Utc or Local. As in .NET it does not count in comparisons."""

    ticks: int
    kind: str = "Unspecified"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DateTime) and other.ticks == self.ticks

    def __lt__(self, other: DateTime) -> bool:
        return self.ticks < other.ticks

    def __hash__(self) -> int:
        return hash(self.ticks)

    @classmethod
    def from_python(cls, moment: datetime) -> DateTime:
        """From a datetime: with UTC it is Utc, with another zone Local, without one Unspecified."""
        kind = "Unspecified"
        if moment.tzinfo is not None:
            kind = "Utc" if moment.utcoffset() == timedelta(0) and moment.tzinfo is UTC else "Local"
            moment = moment.replace(tzinfo=None)
        return cls(_ticks(moment - _EPOCH), kind)

    @classmethod
    def now(cls, *, utc: bool = False) -> DateTime:
        """The machine's clock."""
        return cls.from_python(datetime.now(UTC) if utc else datetime.now(UTC).astimezone())

    def python(self) -> datetime:
        """As a datetime without a zone."""
        return _EPOCH + timedelta(microseconds=self.ticks // 10)

    def offset(self) -> timedelta:
        """How far local time is ahead of UTC at this time; zero for Utc."""
        if self.kind == "Utc":
            return timedelta(0)
        return self.python().astimezone().utcoffset() or timedelta(0)

    def to_utc(self) -> DateTime:
        """ToUniversalTime(): what is Unspecified counts as local."""
        return DateTime(self.ticks - _ticks(self.offset()), "Utc")

    def to_local(self) -> DateTime:
        """ToLocalTime(): what is Unspecified counts as UTC."""
        if self.kind == "Local":
            return self
        local = self.python().replace(tzinfo=UTC).astimezone()
        return DateTime(self.ticks + _ticks(local.utcoffset() or timedelta(0)), "Local")

    def __str__(self) -> str:
        return self.format("MM/dd/yyyy HH:mm:ss")

    def format(self, pattern: str) -> str:
        """ToString(pattern) in the invariant culture; ValueError for a pattern that is not modelled."""
        if len(pattern) == 1:
            standard = {
                "o": "yyyy-MM-ddTHH:mm:ss.fffffffK",
                "O": "yyyy-MM-ddTHH:mm:ss.fffffffK",
                "s": "yyyy-MM-ddTHH:mm:ss",
                "u": "yyyy-MM-dd HH:mm:ssZ",
                "d": "MM/dd/yyyy",
                "t": "HH:mm",
                "T": "HH:mm:ss",
                "g": "MM/dd/yyyy HH:mm",
                "G": "MM/dd/yyyy HH:mm:ss",
                "D": "dddd, dd MMMM yyyy",
                "f": "dddd, dd MMMM yyyy HH:mm",
                "F": "dddd, dd MMMM yyyy HH:mm:ss",
                "r": "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
                "R": "ddd, dd MMM yyyy HH:mm:ss 'GMT'",
            }.get(pattern)
            if standard is None:
                raise ValueError("Input string was not in a correct format.")
            pattern = standard
        moment = self.python()
        fraction = f"{self.ticks % TICKS_PER_SECOND:07d}"
        offset = self.offset()
        minutes = int(offset.total_seconds() // 60)
        zone = _zone(minutes)
        kind_zone = {"Utc": "Z", "Local": zone, "Unspecified": ""}[self.kind]
        weekday = _DAYS[(moment.weekday() + 1) % 7]
        month = _MONTHS[moment.month - 1]
        twelve = moment.hour % 12 or 12
        parts = {
            "yyyy": f"{moment.year:04d}", "yy": f"{moment.year % 100:02d}", "MMMM": month, "MMM": month[:3],
            "MM": f"{moment.month:02d}", "M": str(moment.month), "dddd": weekday, "ddd": weekday[:3],
            "dd": f"{moment.day:02d}", "d": str(moment.day), "HH": f"{moment.hour:02d}", "H": str(moment.hour),
            "hh": f"{twelve:02d}", "h": str(twelve), "mm": f"{moment.minute:02d}", "m": str(moment.minute),
            "ss": f"{moment.second:02d}", "s": str(moment.second), "tt": "AM" if moment.hour < 12 else "PM",
            "K": kind_zone, "zzz": zone, "zz": zone[:3],
        }  # fmt: skip
        made: list[str] = []
        for found in re.finditer(r"'([^']*)'|\"([^\"]*)\"|\\(.)|(([A-Za-z])\5*)|(.)", pattern, re.S):
            quoted, double, escaped, letters, _, other = found.groups()
            if letters is None:
                made.append(next(text for text in (quoted, double, escaped, other) if text is not None))
            elif letters in parts:
                made.append(parts[letters])
            elif set(letters) == {"f"} and len(letters) <= 7:
                made.append(fraction[: len(letters)])
            elif letters in ("T", "Z"):
                made.append(letters)
            else:
                raise ValueError(f"the date format {letters} is not modelled")
        return "".join(made)

    @classmethod
    def parse(cls, text: str) -> DateTime:
        """From ISO 8601 or MM/dd/yyyy [HH:mm[:ss]]; text with a zone becomes local time. Raises ValueError."""
        found = re.fullmatch(
            r"\s*(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?)?"
            r"\s*(Z|[+-]\d{2}:?\d{2})?\s*",
            text,
        )
        if found:
            year, month, day, hour, minute, second, fraction, zone = found.groups()
        else:
            found = re.fullmatch(r"\s*(\d{1,2})/(\d{1,2})/(\d{4})(?: (\d{1,2}):(\d{2})(?::(\d{2}))?)?\s*", text)
            if not found:
                raise ValueError("String was not recognized as a valid DateTime.")
            month, day, year, hour, minute, second = found.groups()
            fraction = zone = None
        try:
            moment = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
        except ValueError as error:
            raise ValueError("String was not recognized as a valid DateTime.") from error
        ticks = cls.from_python(moment).ticks + int((fraction or "0")[:7].ljust(7, "0"))
        if zone is None:
            return cls(ticks)
        if zone != "Z":
            sign = -1 if zone[0] == "-" else 1
            digits = zone[1:].replace(":", "")
            ticks -= sign * (int(digits[:2]) * 60 + int(digits[2:])) * 60 * TICKS_PER_SECOND
        return cls(ticks, "Utc").to_local()


class DateTimeOfCmdlet(DateTime):
    """What Get-Date gives: ConvertTo-Json of Windows PowerShell makes an object of it, with DisplayHint."""


def _ticks(delta: timedelta) -> int:
    return (delta.days * 86400 + delta.seconds) * TICKS_PER_SECOND + delta.microseconds * 10


def _zone(minutes: int) -> str:
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


@dataclass(frozen=True)
class DateTimeOffset:
    """A point in time with its zone."""

    local: int
    offset: int

    @property
    def utc_ticks(self) -> int:
        """Ticks in UTC."""
        return self.local - self.offset

    def __str__(self) -> str:
        minutes = self.offset // TICKS_PER_SECOND // 60
        return f"{DateTime(self.local)} {_zone(minutes)}"
