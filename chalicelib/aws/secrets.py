"""What a function must know and nobody else: a JSON object in Secrets Manager, read once, where a function starts.

Permissions: secretsmanager:GetSecretValue on the one secret that ROWMILL_SECRET names, and kms:Decrypt by way of it.
"""

from __future__ import annotations

import json
import os

from chalicelib.aws import client


def fetch() -> None:
    """Have the secret's members where `settings` looks for them; a variable that is set already keeps its value.

    Before anybody asks for the settings, which are read once. Without ROWMILL_SECRET nothing is done: whoever packages
    or tests has no secret. A function that may not read its own does not start.
    """
    name = os.environ.get("ROWMILL_SECRET")
    if not name:
        return
    kept = json.loads(client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])
    for variable, value in kept.items():
        os.environ.setdefault(variable, value)
