"""The API as methods: one per call, and some that make a journey of several (upload, resume_file, wait, verify)."""

from __future__ import annotations

from .accounts import Accounts
from .datasets import Datasets
from .results import Results
from .uploads import Uploads
from .webhooks import Webhooks


class Rowmill(Accounts, Webhooks, Datasets, Uploads, Results):
    """A client of one API. `token` may be empty until `signup` or `login` has given one.

    A session that those gave, or that `keeper` holds, goes on by itself when its access token runs out.
    """
