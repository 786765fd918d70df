"""E-mail, from the deployment's one sender and to the domains that its operator allows.

Permission: ses:SendEmail from that sender.
"""

from __future__ import annotations

from chalicelib.aws import client
from chalicelib.settings import settings


def may_send_to(address: str) -> bool:
    """Whether this deployment sends e-mail there: nobody else's postbox is to be filled by our uploads."""
    return bool(settings().mail_sender) and address.rpartition("@")[2].lower() in settings().mail_domains


def send(address: str, subject: str, text: str) -> None:
    """One plain message to one address."""
    client("sesv2").send_email(
        FromEmailAddress=settings().mail_sender,
        Destination={"ToAddresses": [address]},
        Content={
            "Simple": {
                "Subject": {"Data": subject, "Charset": "UTF-8"},
                "Body": {"Text": {"Data": text, "Charset": "UTF-8"}},
            }
        },
    )
