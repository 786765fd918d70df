"""Delimited text: what a file is, where its records end, and the cells in them. Pure: bytes in, values out."""

from chalicelib.formats.cells import MAX_CELL, Unreadable
from chalicelib.formats.delimited import Header, bom_length, fitted, header, may_hold_large, misfit, records, records_of
from chalicelib.formats.dialect import Dialect
from chalicelib.formats.grammar import locate, spans
from chalicelib.formats.sniff import SAMPLE_BYTES, Detected, detect

__all__ = [
    "MAX_CELL",
    "SAMPLE_BYTES",
    "Detected",
    "Dialect",
    "Header",
    "Unreadable",
    "bom_length",
    "detect",
    "fitted",
    "header",
    "locate",
    "may_hold_large",
    "misfit",
    "records",
    "records_of",
    "spans",
]
