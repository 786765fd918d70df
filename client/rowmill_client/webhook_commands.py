"""`rowmill webhook`: who hears of uploads that end, and what became of telling them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from . import output
from .errors import Unusable
from .parameters import Json, Limit, connect
from .resources import NewWebhook, Webhook

WebhookId = Annotated[str, typer.Argument(metavar="WEBHOOK", help="The webhook's id (whk_…).")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", metavar="EVENT", help="Such as upload.failed; repeatable. All if there is none."),
]
OnlyNamed = Annotated[
    bool, typer.Option("--only-named", help="Hear only of uploads that name it, by --option notify.webhook=WEBHOOK.")
]
Description = Annotated[str | None, typer.Option(help="For people.")]
COLUMNS = ["id", "url", "state", "disabled_reason", "events", "description"]


def add_webhook(
    url: Annotated[str, typer.Argument(metavar="URL", help="Where events are posted to: https, a public address.")],
    event: Events = None,
    only_named: OnlyNamed = False,
    description: Description = None,
    as_json: Json = False,
) -> None:
    """Have events posted to a URL. Prints their secret, which is told here and by `rotate` alone.

    \b
    Example: rowmill webhook add https://example.org/rowmill --event upload.completed --event upload.failed
    """
    wanted = _given(url, event, only_named, description)
    with connect() as rowmill:
        _tell(rowmill.create_webhook(**wanted), as_json)


def list_webhooks(as_json: Json = False, limit: Limit = None) -> None:
    """List the webhooks, and whether they are well.

    \b
    Example: rowmill webhook list
    """
    with connect() as rowmill:
        output.items(COLUMNS, rowmill.iterate_webhooks(limit), as_json)


def get_webhook(webhook: WebhookId, as_json: Json = False) -> None:
    """Show a webhook.

    \b
    Example: rowmill webhook get whk_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        _show(rowmill.get_webhook(webhook), as_json)


def set_webhook(
    webhook: WebhookId,
    url: Annotated[str | None, typer.Option(help="Where events are posted to from now on.")] = None,
    event: Events = None,
    only_named: OnlyNamed = False,
    description: Description = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Let it hear again, its failures forgotten; or nothing.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Change a webhook, disable it or enable it again.

    \b
    Example: rowmill webhook set whk_01M80FHFV747N9CXY8YY64K210 --enable
    """
    wanted = _given(url, event, only_named, description)
    if enable is not None:
        wanted["enabled"] = enable
    if not wanted:
        raise Unusable("say what to change: --url, --event, --only-named, --description, --enable or --disable")
    with connect() as rowmill:
        _show(rowmill.change_webhook(webhook, wanted), as_json)


def rotate_webhook(webhook: WebhookId, as_json: Json = False) -> None:
    """Give a webhook another secret and print it; for a day events are signed with the former one, too.

    \b
    Example: rowmill webhook rotate whk_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        _tell(rowmill.rotate_webhook(webhook), as_json)


def ping_webhook(webhook: WebhookId, as_json: Json = False) -> None:
    """Send an event that tells of nothing; `deliveries` shows how that went.

    \b
    Example: rowmill webhook ping whk_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        delivery = rowmill.ping_webhook(webhook)
    text = f"{delivery['event_id']} is on its way; see: rowmill webhook deliveries {webhook}"
    output.done(text, delivery, as_json)


def list_deliveries(webhook: WebhookId, as_json: Json = False, limit: Limit = None) -> None:
    """List what a webhook was told, the newest first, with the last answer.

    \b
    Example: rowmill webhook deliveries whk_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        found = rowmill.iterate_deliveries(webhook, limit)
        if as_json:
            output.json_array(found)
            return
        columns = ["event_id", "type", "upload_id", "state", "attempts_begun", "next_attempt_at", "status", "error"]
        output.listing(columns, (one | _last(one["attempts"]) for one in found))


def delete_webhook(webhook: WebhookId, as_json: Json = False) -> None:
    """Delete a webhook: nothing more is posted there.

    \b
    Example: rowmill webhook delete whk_01M80FHFV747N9CXY8YY64K210
    """
    with connect() as rowmill:
        rowmill.delete_webhook(webhook)
    output.done(f"{webhook} is deleted", {"deleted": webhook}, as_json)


def _given(url: str | None, event: list[str] | None, only_named: bool, description: str | None) -> dict[str, Any]:
    if event and only_named:
        raise Unusable("--only-named means no --event")
    events = [] if only_named else event or None
    wanted = {"url": url, "events": events, "description": description}
    return {name: value for name, value in wanted.items() if value is not None}


def _show(webhook: Webhook, as_json: bool) -> None:
    if as_json:
        output.json_document(webhook)
    else:
        output.listing(COLUMNS, [webhook])


def _tell(made: NewWebhook, as_json: bool) -> None:
    """The secret alone on stdout."""
    if as_json:
        output.json_document(made)
        return
    output.note(f"{made['id']} hears of {', '.join(made['events']) or 'uploads that name it'}")
    typer.echo(made["secret"])


def _last(attempts: list[Any]) -> dict[str, Any]:
    return {name: attempts[-1][name] for name in ("status", "error")} if attempts else {}
