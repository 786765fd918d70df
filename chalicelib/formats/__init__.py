"""Delimited text: what a file is, where its records end, and the cells in them. Pure: bytes in, values out."""

from chalicelib.formats.delimited import Header, bom_length, header, records
from chalicelib.formats.dialect import Dialect
from chalicelib.formats.grammar import spans
from chalicelib.formats.sniff import Detected, detect

__all__ = ["Detected", "Dialect", "Header", "bom_length", "detect", "header", "records", "spans"]
