"""DateTime, DateTimeOffset, TimeSpan, Stopwatch."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from ..errors import NetException
from ..formats import span_format
from ..moments import FILE_TIME_TICKS, TICKS_PER_SECOND, UNIX_TICKS, DateTime, DateTimeOffset, TimeSpan
from ..typesystem import DotNetType, EnumType, Method, Property, method
from ..values import Int64
from .primitives import OBJECT, format_checked

DAY_OF_WEEK = EnumType(
    "System.DayOfWeek",
    {"Sunday": 0, "Monday": 1, "Tuesday": 2, "Wednesday": 3, "Thursday": 4, "Friday": 5, "Saturday": 6},
)
KIND = EnumType("System.DateTimeKind", {"Unspecified": 0, "Utc": 1, "Local": 2})
STYLES = EnumType(
    "System.Globalization.DateTimeStyles",
    {"None": 0, "AdjustToUniversal": 16, "AssumeLocal": 32, "AssumeUniversal": 64, "RoundtripKind": 128},
    flags=True,
    complete=False,
)
_UNITS = {"Days": 86400, "Hours": 3600, "Minutes": 60, "Seconds": 1}


def _total(seconds: float) -> Callable[[TimeSpan], float]:
    return lambda span: span.ticks / (seconds * TICKS_PER_SECOND)


def _whole(span: TimeSpan, seconds: int, modulus: int | None) -> int:
    count = abs(span.ticks) // (seconds * TICKS_PER_SECOND)
    count = count % modulus if modulus else count
    return -count if span.ticks < 0 else count


def _milliseconds(span: TimeSpan) -> int:
    count = abs(span.ticks) // 10_000 % 1000
    return -count if span.ticks < 0 else count


def _made(days: int, hours: int, minutes: int, seconds: int, milliseconds: int = 0) -> TimeSpan:
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return TimeSpan(total * TICKS_PER_SECOND + milliseconds * 10_000)


SPAN = DotNetType(
    "System.TimeSpan",
    base=OBJECT,
    python=TimeSpan,
    new=method(TimeSpan, "long")
    | method(lambda h, m, s: _made(0, h, m, s), "int", "int", "int")
    | method(_made, "int", "int", "int", "int")
    | method(_made, "int", "int", "int", "int", "int"),
    statics={
        "Zero": Property(lambda: TimeSpan(0)),
        "MaxValue": Property(lambda: TimeSpan(2**63 - 1)),
        "FromMilliseconds": method(lambda value: TimeSpan.seconds(value / 1000), "double"),
        "FromTicks": method(TimeSpan, "long"),
        "Parse": method(format_checked(TimeSpan.parse), "string"),
        **{
            f"From{name}": method(lambda value, factor=factor: TimeSpan.seconds(value * factor), "double")
            for name, factor in _UNITS.items()
        },
    },
    members={
        "Ticks": Property(lambda span: Int64(span.ticks)),
        "Days": Property(lambda span: _whole(span, 86400, None)),
        "Hours": Property(lambda span: _whole(span, 3600, 24)),
        "Minutes": Property(lambda span: _whole(span, 60, 60)),
        "Seconds": Property(lambda span: _whole(span, 1, 60)),
        "Milliseconds": Property(_milliseconds),
        "TotalMilliseconds": Property(_total(0.001)),
        **{f"Total{name}": Property(_total(factor)) for name, factor in _UNITS.items()},
        "ToString": method(str) | method(format_checked(span_format), "string"),
        "Add": method(lambda span, other: TimeSpan(span.ticks + other.ticks), "timespan"),
        "Subtract": method(lambda span, other: TimeSpan(span.ticks - other.ticks), "timespan"),
        "Negate": method(lambda span: TimeSpan(-span.ticks)),
        "Duration": method(lambda span: TimeSpan(abs(span.ticks))),
    },
)


def _adding(seconds: float) -> Method:
    return method(
        lambda moment, count: DateTime(moment.ticks + round(count * seconds * TICKS_PER_SECOND), moment.kind), "double"
    )


def _add_months(moment: DateTime, count: int) -> DateTime:
    then = moment.python()
    month = then.month - 1 + count
    year, month = then.year + month // 12, month % 12 + 1
    after = datetime(year + month // 12, month % 12 + 1, 1)
    last = (after - timedelta(days=1)).day
    changed = then.replace(year=year, month=month, day=min(then.day, last))
    return DateTime(DateTime.from_python(changed).ticks + moment.ticks % 10, moment.kind)


def _of(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, kind: Any = "Unspecified"
) -> DateTime:
    try:
        return DateTime(DateTime.from_python(datetime(year, month, day, hour, minute, second)).ticks, str(kind))
    except ValueError as error:
        raise NetException(
            "System.ArgumentOutOfRangeException",
            "Year, Month, and Day parameters describe an un-representable DateTime.",
        ) from error


def _minus(moment: DateTime, other: DateTime | TimeSpan) -> Any:
    if isinstance(other, DateTime):
        return TimeSpan(moment.ticks - other.ticks)
    return DateTime(moment.ticks - other.ticks, moment.kind)


MOMENT = DotNetType(
    "System.DateTime",
    base=OBJECT,
    interfaces=("System.IComparable", "System.IFormattable"),
    python=DateTime,
    new=method(DateTime, "long")
    | method(lambda ticks, kind: DateTime(ticks, str(kind)), "long", KIND.name)
    | method(_of, "int", "int", "int")
    | method(_of, "int", "int", "int", "int", "int", "int")
    | method(_of, "int", "int", "int", "int", "int", "int", KIND.name),
    statics={
        "Now": Property(DateTime.now),
        "UtcNow": Property(lambda: DateTime.now(utc=True)),
        "Today": Property(lambda: _date(DateTime.now())),
        "MinValue": Property(lambda: DateTime(0)),
        "MaxValue": Property(lambda: DateTime(3155378975999999999)),
        "Parse": method(format_checked(DateTime.parse), "string"),
        "FromFileTimeUtc": method(lambda ticks: DateTime(ticks + FILE_TIME_TICKS, "Utc"), "long"),
        "FromFileTime": method(lambda ticks: DateTime(ticks + FILE_TIME_TICKS, "Utc").to_local(), "long"),
        "SpecifyKind": method(lambda moment, kind: DateTime(moment.ticks, str(kind)), "datetime", KIND.name),
    },
    members={
        "Ticks": Property(lambda moment: Int64(moment.ticks)),
        "Kind": Property(lambda moment: KIND.named(moment.kind)),
        "Year": Property(lambda moment: moment.python().year),
        "Month": Property(lambda moment: moment.python().month),
        "Day": Property(lambda moment: moment.python().day),
        "Hour": Property(lambda moment: moment.python().hour),
        "Minute": Property(lambda moment: moment.python().minute),
        "Second": Property(lambda moment: moment.python().second),
        "Millisecond": Property(lambda moment: moment.ticks // 10_000 % 1000),
        "DayOfWeek": Property(lambda moment: DAY_OF_WEEK.of((moment.python().weekday() + 1) % 7)),
        "Date": Property(lambda moment: _date(moment)),
        "TimeOfDay": Property(lambda moment: TimeSpan(moment.ticks % (86400 * TICKS_PER_SECOND))),
        "ToUniversalTime": method(DateTime.to_utc),
        "ToLocalTime": method(DateTime.to_local),
        "ToString": method(str) | method(format_checked(DateTime.format), "string"),
        "ToFileTimeUtc": method(lambda moment: Int64(moment.to_utc().ticks - FILE_TIME_TICKS)),
        "Add": method(lambda moment, span: DateTime(moment.ticks + span.ticks, moment.kind), "timespan"),
        "Subtract": method(_minus, "datetime") | method(_minus, "timespan"),
        "AddDays": _adding(86400),
        "AddHours": _adding(3600),
        "AddMinutes": _adding(60),
        "AddSeconds": _adding(1),
        "AddMilliseconds": _adding(0.001),
        "AddTicks": method(lambda moment, ticks: DateTime(moment.ticks + ticks, moment.kind), "long"),
        "AddMonths": method(_add_months, "int"),
        "AddYears": method(lambda moment, years: _add_months(moment, years * 12), "int"),
    },
)


def _date(moment: DateTime) -> DateTime:
    return DateTime(moment.ticks - moment.ticks % (86400 * TICKS_PER_SECOND), moment.kind)


def _offset_of(moment: DateTime) -> DateTimeOffset:
    offset = moment.offset()
    return DateTimeOffset(moment.ticks, round(offset.total_seconds()) * TICKS_PER_SECOND)


OFFSET = DotNetType(
    "System.DateTimeOffset",
    base=OBJECT,
    python=DateTimeOffset,
    new=method(_offset_of, "datetime"),
    text=str,
    statics={
        "Now": Property(lambda: _offset_of(DateTime.now())),
        "UtcNow": Property(lambda: _offset_of(DateTime.now(utc=True))),
        "FromUnixTimeSeconds": method(lambda s: DateTimeOffset(UNIX_TICKS + s * TICKS_PER_SECOND, 0), "long"),
        "FromUnixTimeMilliseconds": method(lambda ms: DateTimeOffset(UNIX_TICKS + ms * 10_000, 0), "long"),
    },
    members={
        "UtcDateTime": Property(lambda value: DateTime(value.utc_ticks, "Utc")),
        "DateTime": Property(lambda value: DateTime(value.local)),
        "LocalDateTime": Property(lambda value: DateTime(value.utc_ticks, "Utc").to_local()),
        "Offset": Property(lambda value: TimeSpan(value.offset)),
        "ToUnixTimeSeconds": method(lambda value: Int64((value.utc_ticks - UNIX_TICKS) // TICKS_PER_SECOND)),
        "ToUnixTimeMilliseconds": method(lambda value: Int64((value.utc_ticks - UNIX_TICKS) // 10_000)),
    },
)


class Stopwatch:
    """Measures time that passes."""

    def __init__(self, *, running: bool = False) -> None:
        self.before = 0.0
        self.since = time.monotonic() if running else None

    def elapsed(self) -> float:
        """Seconds."""
        return self.before + (time.monotonic() - self.since if self.since is not None else 0.0)

    def start(self) -> None:
        """Goes on."""
        if self.since is None:
            self.since = time.monotonic()

    def stop(self) -> None:
        """Holds."""
        self.before, self.since = self.elapsed(), None

    def restart(self) -> None:
        """From zero."""
        self.before, self.since = 0.0, time.monotonic()

    def reset(self) -> None:
        """To zero, held."""
        self.before, self.since = 0.0, None


WATCH = DotNetType(
    "System.Diagnostics.Stopwatch",
    base=OBJECT,
    python=Stopwatch,
    new=method(Stopwatch),
    statics={
        "StartNew": method(lambda: Stopwatch(running=True)),
        "GetTimestamp": method(lambda: Int64(time.monotonic_ns() // 100)),
        "Frequency": Property(lambda: Int64(TICKS_PER_SECOND)),
    },
    members={
        "Elapsed": Property(lambda watch: TimeSpan.seconds(watch.elapsed())),
        "ElapsedMilliseconds": Property(lambda watch: Int64(int(watch.elapsed() * 1000))),
        "ElapsedTicks": Property(lambda watch: Int64(int(watch.elapsed() * TICKS_PER_SECOND))),
        "IsRunning": Property(lambda watch: watch.since is not None),
        "Start": method(Stopwatch.start),
        "Stop": method(Stopwatch.stop),
        "Restart": method(Stopwatch.restart),
        "Reset": method(Stopwatch.reset),
    },
)

TYPES = [DAY_OF_WEEK, KIND, STYLES, SPAN, MOMENT, OFFSET, WATCH]
