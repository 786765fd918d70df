"""Python reads this at its start when the folder is on PYTHONPATH: to it, polars is not installed then."""

import sys
from typing import Any, cast

cast(dict[str, Any], sys.modules)["polars"] = None  # makes `import polars` raise ModuleNotFoundError
