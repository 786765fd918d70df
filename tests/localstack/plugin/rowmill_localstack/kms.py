"""KMS of LocalStack 4.13.1 on Python 3.11, where it fails to make any key.

The one thing to know: it numbers a key's material by `uuid5`, which takes bytes from Python 3.12 on; here it gets text.
"""

import sys
import uuid

from localstack.runtime import hooks
from localstack.services.kms.models import KmsKey


def _material_id(key: KmsKey, material: bytes) -> str:
    return uuid.uuid5(key._internal_key_id, material.hex()).hex * 2


@hooks.on_infra_start()
def keys_on_python_3_11() -> None:
    if sys.version_info < (3, 12):
        KmsKey.generate_key_material_id = _material_id
