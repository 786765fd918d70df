"""Who hears of uploads that end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from .calls import Calls, path_of
from .resources import Delivery, NewWebhook, Webhook
from .transport import document


class Webhooks(Calls):
    """The tenant's webhooks."""

    def create_webhook(
        self,
        url: str,
        events: Sequence[str] | None = None,
        description: str = "",
        idempotency_key: str | None = None,
    ) -> NewWebhook:
        """Have events posted to a URL: all of them, or these. The secret is in this answer, and in a rotation's."""
        body = {"url": url, "description": description} | ({} if events is None else {"events": list(events)})
        return cast(NewWebhook, document(self._make("webhooks", body, idempotency_key)))

    def iterate_webhooks(self, limit: int | None = None) -> Iterator[Webhook]:
        return cast(Iterator[Webhook], self._items("webhooks", {}, limit))

    def get_webhook(self, webhook_id: str) -> Webhook:
        return cast(Webhook, self._get(path_of("webhooks", webhook_id)))

    def change_webhook(self, webhook_id: str, values: Mapping[str, Any]) -> Webhook:
        """Change its `url`, `events` or `description`; `enabled` lets it hear again, or nothing."""
        answer = self._transport.call("PATCH", path_of("webhooks", webhook_id), body=values, again=True)
        return cast(Webhook, document(answer))

    def rotate_webhook(self, webhook_id: str) -> NewWebhook:
        """Another secret; for a day events are signed with the former one, too."""
        return cast(NewWebhook, document(self._transport.call("POST", path_of("webhooks", webhook_id, "rotate"))))

    def ping_webhook(self, webhook_id: str) -> Delivery:
        """Send an event that tells of nothing; how that went is among the deliveries."""
        return cast(Delivery, document(self._transport.call("POST", path_of("webhooks", webhook_id, "ping"))))

    def iterate_deliveries(self, webhook_id: str, limit: int | None = None) -> Iterator[Delivery]:
        """What a webhook was told and what not, the newest first."""
        return cast(Iterator[Delivery], self._items(path_of("webhooks", webhook_id, "deliveries"), {}, limit))

    def delete_webhook(self, webhook_id: str) -> None:
        """Nothing more is posted there."""
        self._delete(path_of("webhooks", webhook_id))
