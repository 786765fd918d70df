"""`python -m rowmill_client`, the same as `rowmill`."""

from .cli import app

app(prog_name="rowmill")
