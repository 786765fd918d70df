"""What every route takes, answers and refuses: the one source of the checks of requests, openapi.json and /docs.

A route's contract is an `Operation` in the module of its area; schemas that are shared have a name in the SCHEMAS
beside it. table.py has all of them, words.py the words, checks.py holds requests to them, document.py and manual.py
show them.
"""

from chalicelib.contract.table import OPERATIONS, SCHEMAS
from chalicelib.contract.words import Operation

__all__ = ["OPERATIONS", "SCHEMAS", "Operation"]
