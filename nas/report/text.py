"""Formatting of figures and names for readers, as plain text that is not yet escaped for HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from nas.report.estimates import Estimate

_UNITS = {
    "latency_ms": ("Latency", "ms"),
    "energy_mj": ("Energy", "mJ"),
    "model_bytes": ("Model size", "B"),
    "peak_activation_bytes": ("Peak activation", "B"),
    "memory_bytes": ("Memory", "B"),
    "macs": ("MACs", ""),
    "bitops": ("BitOPs", ""),
    "parameters": ("Parameters", ""),
}
# The last word of a cost's name -> its unit; `phone_ms` is in ms, and so is `ms`.
_ENDINGS = {
    "ns": "ns",
    "us": "µs",
    "ms": "ms",
    "s": "s",
    "nj": "nJ",
    "uj": "µJ",
    "mj": "mJ",
    "j": "J",
    "mw": "mW",
    "w": "W",
    "bytes": "B",
    "kb": "kB",
    "mb": "MB",
    "gb": "GB",
    "mflops": "MFLOPs",
    "gflops": "GFLOPs",
    "mmacs": "MMACs",
    "gmacs": "GMACs",
}
_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_EXACT = 10_000


def title(name: str) -> str:
    """The name of a cost for a heading: `latency_ms` becomes "Latency"."""
    return _spelled(name)[0]


def _spelled(name: str) -> tuple[str, str]:
    """The heading of a cost and its unit, which is empty where the name tells none."""
    if name in _UNITS:
        return _UNITS[name]
    stem, _, last = name.rpartition("_")
    unit = _ENDINGS.get(last.lower(), "")
    if not unit or (not stem and len(last) == 1):  # a cost called `s` may be a size
        return name.replace("_", " "), ""
    return stem.replace("_", " ") or name, unit


def axis_title(name: str) -> str:
    """The name of a cost with its unit for an axis: `latency_ms` becomes "Latency (ms)"."""
    heading, unit = _spelled(name)
    unit = {"B": "bytes"}.get(unit, unit)
    return f"{heading} ({unit})" if unit and heading != name else heading


def quantity(name: str, value: float) -> str:
    """A cost with its unit: `latency_ms` and 0.4213 become "0.421 ms"."""
    unit = _spelled(name)[1]
    if not math.isfinite(value):
        return "cannot run" if value > 0 else "not known"
    scale, prefix = _scale(value) if is_scaled(name) else (1.0, "")
    digits = significant(value / scale)
    return f"{digits} {prefix}{unit}".rstrip()


def is_scaled(name: str) -> bool:
    """Whether a figure is shown in thousands, millions and so on (k, M, G), such as MACs."""
    return _spelled(name)[1] == "B" or (name in _UNITS and not _UNITS[name][1])


def limit(name: str, value: float) -> str:
    """A limit with its unit and all its digits, thousands as in `quantity`: "12.345 ms"."""
    return quantity(name, value) if is_scaled(name) else f"{value:g} {_spelled(name)[1]}".rstrip()


def limits(given: Mapping[str, float]) -> str:
    """Limits as conditions, "latency_ms ≤ 5 ms, model_bytes ≤ 1.00 MB", or "none"."""
    return ", ".join(f"{name} ≤ {limit(name, value)}" for name, value in given.items()) or "none"


def _scale(value: float) -> tuple[float, str]:
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale:
            return scale, prefix
    return 1.0, ""


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits; very large and small ones with an exponent."""
    if value == 0:
        return "0"
    if not math.isfinite(value):
        return str(value)
    magnitude = math.floor(math.log10(abs(value)))
    if not -4 <= magnitude < 7:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - magnitude)}f}"


def networks(count: str) -> str:
    """A number of networks from its decimal digits, as a power of ten if it is large.

    Up to five digits are shown in full.
    """
    whole = count.strip()
    if not whole.isdecimal() or len(whole) <= len(str(_EXACT)):
        return f"{int(whole):,}" if whole.isdecimal() else _power(whole)
    return f"{whole[0]}.{whole[1]} {_TIMES} 10{str(len(whole) - 1).translate(_SUPERSCRIPTS)}"


def _power(count: str) -> str:
    mantissa, _, exponent = count.lower().partition("e")
    if not exponent.lstrip("+").isdecimal():
        return count
    return f"{mantissa} {_TIMES} 10{str(int(exponent)).translate(_SUPERSCRIPTS)}"


_TIMES = "\N{MULTIPLICATION SIGN}"
_SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def duration(seconds: float) -> str:
    """A duration in seconds as text: "48 s", "3 min 20 s" or "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{significant(seconds, 2)} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def capital(words: str) -> str:
    """Words with a capital first letter; all other letters stay as they are."""
    return words[:1].upper() + words[1:]


def listed(words: Iterable[object]) -> str:
    """Words as a list in a sentence: "a", "a and b", "a, b and c"; nothing where there are none."""
    *others, last = [*map(str, words)] or [""]
    return f"{', '.join(others)} and {last}" if others else last


def option(pick: object) -> str:
    """An option of a choice as it was picked, on one line.

    Of a precision only the bits of its integers or the name of its floats are told.
    """
    match pick:
        case None:
            return bits(None)
        case {"$spec": "Quant", "format": {"bits": held}}:
            return str(held)
        case {"$spec": "Quant", "format": {"exponent": exponent, "mantissa": mantissa}}:
            return f"e{exponent}m{mantissa}"
        case {"$spec": kind}:
            return str(kind)
        case _:
            return str(pick)


def bits(value: int | None) -> str:
    """A bit-width as text: "8", or "float" for full precision."""
    return "float" if value is None else str(value)


def estimate(name: str, value: Estimate | None) -> str:
    """A cost with its standard deviation as text: "2.31 ± 0.20 ms"; a dash for None."""
    if value is None:
        return "—"
    shown = quantity(name, value.mean)
    if not value.std or not math.isfinite(value.mean):
        return shown
    number, _, unit = shown.partition(" ")
    scale = _scale(value.mean)[0] if is_scaled(name) else 1.0
    return f"{number} ± {significant(value.std / scale, 2)} {unit}".rstrip()
