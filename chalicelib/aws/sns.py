"""The deployment's topic of events. Permission: sns:Publish on it."""

from __future__ import annotations

from collections.abc import Mapping

from chalicelib.aws import client
from chalicelib.settings import settings


def publish(message: str, attributes: Mapping[str, str]) -> None:
    """One message; by `attributes` subscriptions choose what they get."""
    client("sns").publish(
        TopicArn=settings().events_topic,
        Message=message,
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    )
