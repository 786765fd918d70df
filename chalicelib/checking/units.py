"""Units that may stand beside a number and change nothing of it: what a fix may take away.

None that scales (per cent, k, M), and none that is short for one that does (m for a million, t for a thousand).
"""

from __future__ import annotations

import re
from typing import Final

_SIGNS: Final = {
    "€": "euro_sign",
    "$": "dollar_sign",
    "£": "pound_sign",
    "¥": "yen_sign",
    "₹": "rupee_sign",
    "₽": "ruble_sign",
    "₩": "won_sign",
    "₺": "lira_sign",
    "₴": "hryvnia_sign",
    "zł": "zloty",
    "Kč": "koruna",
}
UNITS: Final = (
    *_SIGNS,
    *("EUR", "USD", "GBP", "CHF", "JPY", "CNY", "SEK", "NOK", "DKK", "PLN", "CZK", "HUF", "RON", "TRY", "UAH", "INR"),
    *("AUD", "CAD", "NZD", "SGD", "HKD", "KRW", "BRL", "MXN", "ZAR", "ILS", "AED", "THB", "kr"),
    *("mm", "cm", "dm", "km", "ft", "yd", "mg", "g", "kg", "lb", "lbs", "oz", "ml", "cl", "dl", "l", "L", "m²", "km²"),
    *("ha", "°C", "°F", "kWh", "Wh", "kW", "Hz", "kHz", "px", "pcs", "Stk", "ms", "s", "min", "h"),
)
_ONE: Final = "|".join(map(re.escape, sorted(UNITS, key=len, reverse=True)))
_FIND: Final = re.compile(rf"(?:({_ONE})\s?)?[+-]?[0-9.,][^A-Za-z+-]*?(?:\s?({_ONE}))?").fullmatch


def beside(value: str) -> str | None:
    """The unit of these that stands before or behind a number, whatever the number's marks."""
    found = _FIND(value)
    return (found[1] or found[2]) if found else None


def slug(unit: str) -> str:
    """What a cause calls a unit."""
    return f"unit_{_SIGNS.get(unit) or unit.replace('²', '2').replace('°', 'deg_')}"
