"""The doors: every route, queue and schedule of Rowmill, a statement or two each.

Read it as the table of contents. HTTP doors answer JSON under /v1 and never do the slow work; queue doors
move a file one stage on; the clock mends. chalicelib/__init__.py tells which module is which step.
"""

import time
from typing import Any

from chalice.app import CloudWatchEvent, Rate, Response, SQSEvent

from chalicelib import (
    accounts,
    admit,
    aliases,
    apikeys,
    assemble,
    attest,
    catalog,
    control,
    doctor,
    edge,
    load,
    mend,
    notify,
    pictures,
    quota,
    receipts,
    rejects,
    report,
    settle,
    sharing,
    split,
    table_rows,
    templates,
    triage,
    undo,
    webhooks,
    webpage,
)
from chalicelib.aws import s3, secrets
from chalicelib.datasets.addresses import Addressed
from chalicelib.journey import Number
from chalicelib.settings import settings

secrets.fetch()
app = edge.App("rowmill")
here = settings()

# ---- for everybody: whether it answers, and what it may be asked (chalicelib/contract) ---------------------


@app.route("/healthz", methods=["GET"])
def healthz() -> Response:
    return edge.answer(200, {"status": "ok"})


@app.route("/v1/openapi.json", methods=["GET"])
def openapi() -> Response:
    return edge.document(app)


@app.route("/docs", methods=["GET"])
def docs() -> Response:
    return edge.manual(app)


@app.route("/", methods=["GET"])
def page() -> Response:
    return edge.webpage(app, s3.origins())


@app.route("/assets/{asset}", methods=["GET"])
def asset(asset: str) -> Response:
    return edge.asset(app, webpage.asset(asset))


@app.route("/.well-known/rowmill-receipt-keys.json", methods=["GET"])
def receipt_keys() -> Response:
    return edge.kept(app, receipts.keys())


# ---- accounts --------------------------------------------------------------------------------------------


@app.route("/v1/auth/signup", methods=["POST"])
def signup() -> Response:
    return edge.session(app, 201, accounts.signup(edge.body(app), edge.header(app, "idempotency-key")))


@app.route("/v1/auth/login", methods=["POST"])
def login() -> Response:
    return edge.session(app, 200, accounts.login(edge.body(app), edge.source(app)))


@app.route("/v1/auth/refresh", methods=["POST"])
def refresh() -> Response:
    token, by_cookie = edge.refresh_token(app)
    session = accounts.refresh(token, edge.header(app, "idempotency-key"))
    return edge.session(app, 200, session, by_cookie=by_cookie)


@app.route("/v1/auth/logout", methods=["POST"])
def logout() -> Response:
    token, by_cookie = edge.refresh_token(app)
    accounts.logout(token)
    return edge.logged_out(app, by_cookie=by_cookie)


@app.route("/v1/account", methods=["DELETE"])
def delete_account() -> Response:
    accounts.delete(edge.tenant(app), edge.person(app), edge.query(app).filters["confirm"])
    return edge.answer(202, {"id": edge.person(app)})


@app.route("/v1/account/password", methods=["PUT"])
def change_password() -> Response:
    session = accounts.change_password(edge.person(app), edge.body(app), edge.source(app))
    return edge.session(app, 200, session, by_cookie=edge.by_cookie(app))


@app.route("/v1/api-keys", methods=["POST"])
def create_api_key() -> Response:
    return edge.told_once(apikeys.create(edge.tenant(app), edge.person(app), edge.body(app), edge.repeat(app)))


@app.route("/v1/api-keys", methods=["GET"])
def list_api_keys() -> Response:
    return edge.page(app, apikeys.listing(edge.person(app), edge.query(app)))


@app.route("/v1/api-keys/{key_id}", methods=["DELETE"])
def delete_api_key(key_id: str) -> Response:
    apikeys.delete(edge.person(app), edge.name(key_id))
    return edge.gone()


@app.route("/v1/quota", methods=["GET"])
def get_quota() -> Response:
    return edge.answer(200, quota.shown(edge.tenant(app), time.time()))


# ---- datasets and their rows -----------------------------------------------------------------------------


@app.route("/v1/datasets", methods=["GET"])
def list_datasets() -> Response:
    return edge.page(app, catalog.listing(edge.tenant(app), edge.query(app)))


@app.route("/v1/datasets/{name}", methods=["PUT"])
def put_dataset(name: str) -> Response:
    created, dataset = catalog.put(edge.tenant(app), edge.name(name), edge.body(app), edge.request_id(app))
    return edge.written(dataset, status=201 if created else 200)


@app.route("/v1/datasets/{name}", methods=["GET"])
def get_dataset(name: str) -> Response:
    return edge.tagged(app, catalog.get(edge.tenant(app), edge.name(name)))


@app.route("/v1/datasets/{name}", methods=["DELETE"])
def delete_dataset(name: str) -> Response:
    catalog.delete(edge.tenant(app), edge.name(name), edge.request_id(app))
    return edge.gone()


@app.route("/v1/datasets/{name}/grants", methods=["GET"])
def list_grants(name: str) -> Response:
    return edge.page(app, sharing.listing(edge.tenant(app), edge.name(name), edge.query(app)))


@app.route("/v1/datasets/{name}/grants/{username}", methods=["PUT"])
def put_grant(name: str, username: str) -> Response:
    created, grant = sharing.grant(edge.tenant(app), edge.name(name), edge.name(username), edge.body(app))
    return edge.written(grant, status=201 if created else 200)


@app.route("/v1/datasets/{name}/grants/{username}", methods=["DELETE"])
def delete_grant(name: str, username: str) -> Response:
    sharing.revoke(edge.tenant(app), edge.name(name), edge.name(username))
    return edge.gone()


@app.route("/v1/datasets/{name}/rows", methods=["GET"])
def list_rows(name: str) -> Response:
    return edge.page(app, table_rows.listing(edge.tenant(app), edge.name(name), edge.query(app)))


@app.route("/v1/datasets/{name}/rows", methods=["POST"])
def create_row(name: str) -> Response:
    location, row = table_rows.create(edge.tenant(app), edge.name(name), edge.body(app), edge.repeat(app))
    return edge.written(row, location, status=201)


@app.route("/v1/datasets/{name}/rows/{key}", methods=["GET"])
def get_row(name: str, key: str) -> Response:
    return edge.tagged(app, table_rows.get(addressed(name, key)))


@app.route("/v1/datasets/{name}/rows/{key}", methods=["PATCH"])
def change_row(name: str, key: str) -> Response:
    return edge.written(table_rows.change(addressed(name, key), edge.body(app), edge.header(app, "if-match")))


@app.route("/v1/datasets/{name}/rows/{key}", methods=["DELETE"])
def delete_row(name: str, key: str) -> Response:
    table_rows.remove(addressed(name, key), edge.header(app, "if-match"))
    return edge.gone()


@app.route("/v1/datasets/{name}/rows/{key}/picture", methods=["POST"])
def create_picture(name: str, key: str) -> Response:
    asked = edge.body(app)
    return edge.answer(201, pictures.begin(addressed(name, key), asked["content_type"], asked["size"]))


@app.route("/v1/datasets/{name}/rows/{key}/picture", methods=["PUT"])
def put_picture(name: str, key: str) -> Response:
    return edge.answer(200, pictures.attach(addressed(name, key), edge.body(app)["id"]))


@app.route("/v1/datasets/{name}/rows/{key}/picture", methods=["GET"])
def get_picture(name: str, key: str) -> Response:
    return edge.answer(200, pictures.get(addressed(name, key)))


@app.route("/v1/datasets/{name}/rows/{key}/picture", methods=["DELETE"])
def delete_picture(name: str, key: str) -> Response:
    pictures.remove(addressed(name, key))
    return edge.gone()


@app.route("/v1/templates", methods=["GET"])
def list_templates() -> Response:
    return edge.answer(200, templates.listing())


@app.route("/v1/templates/{template}", methods=["GET"])
def get_template(template: str) -> Response:
    return edge.answer(200, templates.get(edge.name(template)))


def addressed(name: str, key: str) -> Addressed:
    """The row that a request is about."""
    return Addressed(edge.tenant(app), edge.name(name), edge.name(key))


# ---- the routes of the book API that this takes the place of -------------------------------------------------

aliases.declare(app)

# ---- uploads ---------------------------------------------------------------------------------------------


@app.route("/v1/uploads", methods=["POST"])
def create_upload() -> Response:
    key = edge.key(app)
    item, ticket = admit.create(edge.tenant(app), edge.body(app), key, edge.asker(app))
    return edge.created(report.resource(item) | {"upload": ticket})


@app.route("/v1/uploads", methods=["GET"])
def list_uploads() -> Response:
    return edge.page(app, report.uploads(edge.tenant(app), edge.query(app)))


@app.route("/v1/uploads/{upload_id}", methods=["GET"])
def get_upload(upload_id: str) -> Response:
    return edge.cached(app, report.upload(edge.tenant(app), upload_id))


@app.route("/v1/uploads/{upload_id}/parts", methods=["POST"])
def sign_parts(upload_id: str) -> Response:
    return edge.answer(200, assemble.sign(edge.tenant(app), upload_id, edge.body(app)))


@app.route("/v1/uploads/{upload_id}/complete", methods=["POST"])
def complete_upload(upload_id: str) -> Response:
    return edge.answer(202, report.resource(assemble.complete(edge.tenant(app), upload_id, edge.body(app))))


@app.route("/v1/uploads/{upload_id}/chunks", methods=["GET"])
def list_chunks(upload_id: str) -> Response:
    return edge.page(app, report.chunks(edge.tenant(app), upload_id, edge.query(app)))


@app.route("/v1/uploads/{upload_id}/events", methods=["GET"])
def list_events(upload_id: str) -> Response:
    return edge.page(app, report.events(edge.tenant(app), upload_id, edge.query(app)))


@app.route("/v1/uploads/{upload_id}/rejects", methods=["GET"])
def list_rejects(upload_id: str) -> Response:
    return edge.page_or_file(app, rejects.listing(edge.tenant(app), upload_id, edge.query(app)))


@app.route("/v1/uploads/{upload_id}/rejects/summary", methods=["GET"])
def summarize_rejects(upload_id: str) -> Response:
    return edge.answer(200, rejects.summary(edge.tenant(app), upload_id))


@app.route("/v1/uploads/{upload_id}/rows/{n}", methods=["GET"])
def get_record(upload_id: str, n: str) -> Response:
    return edge.answer(200, report.record(edge.tenant(app), upload_id, n))


@app.route("/v1/uploads/{upload_id}/retries", methods=["POST"])
def retry_upload(upload_id: str) -> Response:
    key = edge.key(app)
    item, ticket = admit.retry(edge.tenant(app), upload_id, edge.body(app), key, edge.asker(app))
    report.show_retries(edge.tenant(app), upload_id)
    return edge.created(report.resource(item) | {"upload": ticket})


@app.route("/v1/uploads/{upload_id}/causes", methods=["GET"])
def list_causes(upload_id: str) -> Response:
    return edge.answer(200, triage.listing(edge.tenant(app), upload_id))


@app.route("/v1/uploads/{upload_id}/retry", methods=["POST"])
def retry_causes(upload_id: str) -> Response:
    key, fixes = edge.key(app), edge.causes(app)
    admit.retriable(edge.tenant(app), upload_id)
    option = triage.option_of(edge.tenant(app), upload_id, fixes)
    item = admit.rerun(edge.tenant(app), upload_id, fixes, option, key, edge.asker(app))
    report.show_retries(edge.tenant(app), upload_id)
    return edge.created(report.resource(item))


@app.route("/v1/uploads/{upload_id}/cancel", methods=["POST"])
def cancel_upload(upload_id: str) -> Response:
    return answered(upload_id, control.cancel(edge.tenant(app), upload_id, edge.asker(app)))


@app.route("/v1/uploads/{upload_id}/revert", methods=["POST"])
def revert_upload(upload_id: str) -> Response:
    forced = edge.body(app).get("force", False)
    return answered(upload_id, control.revert(edge.tenant(app), upload_id, edge.asker(app), forced=forced))


@app.route("/v1/uploads/{upload_id}/conflicts", methods=["GET"])
def list_conflicts(upload_id: str) -> Response:
    return edge.page(app, report.conflicts(edge.tenant(app), upload_id, edge.query(app)))


@app.route("/v1/uploads/{upload_id}", methods=["DELETE"])
def delete_upload(upload_id: str) -> Response:
    rows = edge.query(app).filters.get("rows") == "true"
    parent_id = control.delete(edge.tenant(app), upload_id, edge.asker(app), rows=rows)
    if parent_id:
        report.show_retries(edge.tenant(app), parent_id)
    return edge.answer(202, {"id": upload_id})


@app.route("/v1/uploads/{upload_id}/pause", methods=["POST"])
def pause_upload(upload_id: str) -> Response:
    return answered(upload_id, control.pause(edge.tenant(app), upload_id, edge.asker(app)))


@app.route("/v1/uploads/{upload_id}/resume", methods=["POST"])
def resume_upload(upload_id: str) -> Response:
    return answered(upload_id, control.resume(edge.tenant(app), upload_id, edge.asker(app)))


@app.route("/v1/uploads/{upload_id}/confirm", methods=["POST"])
def confirm_upload(upload_id: str) -> Response:
    dataset = control.reviewed(edge.tenant(app), upload_id, edge.body(app))
    if dataset:
        catalog.put(edge.owner(app), *dataset, edge.request_id(app))
    return answered(upload_id, control.confirm(edge.tenant(app), upload_id, edge.asker(app), dataset and dataset[1]))


@app.route("/v1/uploads/{upload_id}/redrive", methods=["POST"])
def redrive_upload(upload_id: str) -> Response:
    return answered(upload_id, control.redrive(edge.tenant(app), upload_id, edge.asker(app)))


@app.route("/v1/uploads/{upload_id}/receipt", methods=["GET"])
def get_receipt(upload_id: str) -> Response:
    return edge.made_or_not(app, receipts.get(edge.tenant(app), upload_id, edge.query(app)))


@app.route("/v1/uploads/{upload_id}/receipts", methods=["GET"])
def list_receipts(upload_id: str) -> Response:
    return edge.page(app, receipts.chain(edge.tenant(app), upload_id, edge.query(app)))


@app.route("/v1/uploads/{upload_id}/text", methods=["GET"])
def get_text(upload_id: str) -> Response:
    return edge.answer(200, receipts.text(edge.tenant(app), upload_id))


@app.route("/v1/uploads/{upload_id}/verify", methods=["POST"])
def verify_upload(upload_id: str) -> Response:
    return edge.answer(202, receipts.verify(edge.tenant(app), upload_id, edge.asker(app)))


@app.route("/v1/uploads/{upload_id}/verification", methods=["GET"])
def get_verification(upload_id: str) -> Response:
    return edge.polled(receipts.verification(edge.tenant(app), upload_id))


def answered(upload_id: str, number: Number | None) -> Response:
    """202 and the upload as it is now that something was asked of it."""
    report.show(settle.finish(number))
    return edge.answer(202, report.upload(edge.tenant(app), upload_id))


# ---- webhooks --------------------------------------------------------------------------------------------


@app.route("/v1/webhooks", methods=["POST"])
def create_webhook() -> Response:
    return edge.told_once(webhooks.create(edge.tenant(app), edge.body(app), edge.repeat(app)))


@app.route("/v1/webhooks", methods=["GET"])
def list_webhooks() -> Response:
    return edge.page(app, webhooks.listing(edge.tenant(app), edge.query(app)))


@app.route("/v1/webhooks/{webhook_id}", methods=["GET"])
def get_webhook(webhook_id: str) -> Response:
    return edge.tagged(app, webhooks.get(edge.tenant(app), edge.name(webhook_id)))


@app.route("/v1/webhooks/{webhook_id}", methods=["PATCH"])
def change_webhook(webhook_id: str) -> Response:
    return edge.answer(200, webhooks.change(edge.tenant(app), edge.name(webhook_id), edge.body(app)))


@app.route("/v1/webhooks/{webhook_id}", methods=["DELETE"])
def delete_webhook(webhook_id: str) -> Response:
    webhooks.delete(edge.tenant(app), edge.name(webhook_id))
    return edge.gone()


@app.route("/v1/webhooks/{webhook_id}/rotate", methods=["POST"])
def rotate_webhook(webhook_id: str) -> Response:
    return edge.told_once(webhooks.rotate(edge.tenant(app), edge.name(webhook_id)))


@app.route("/v1/webhooks/{webhook_id}/ping", methods=["POST"])
def ping_webhook(webhook_id: str) -> Response:
    return edge.answer(202, webhooks.ping(edge.tenant(app), edge.name(webhook_id)))


@app.route("/v1/webhooks/{webhook_id}/deliveries", methods=["GET"])
def list_deliveries(webhook_id: str) -> Response:
    return edge.page(app, webhooks.deliveries(edge.tenant(app), edge.name(webhook_id), edge.query(app)))


# ---- the journey of a file: queues -------------------------------------------------------------------------


def onward(number: Number | None) -> Number | None:
    """What follows every step of an upload: its end, if that was the last one, and the status."""
    return report.project(settle.finish(number))


@app.on_sqs_message(queue=here.intake_queue, batch_size=1, name="split")
def split_file(event: SQSEvent) -> dict[str, Any]:
    deadline = edge.deadline(event)
    return edge.each(event, lambda message: onward(split.file(message, deadline)))


@app.on_sqs_message(queue=here.high_queue, batch_size=1, name="load_high")
def load_high(event: SQSEvent) -> dict[str, Any]:
    return edge.each(event, lambda message: onward(load.chunk(message)))


@app.on_sqs_message(queue=here.medium_queue, batch_size=1, name="load_medium")
def load_medium(event: SQSEvent) -> dict[str, Any]:
    return edge.each(event, lambda message: onward(load.chunk(message)))


@app.on_sqs_message(queue=here.low_queue, batch_size=1, name="load_low")
def load_low(event: SQSEvent) -> dict[str, Any]:
    return edge.each(event, lambda message: onward(load.chunk(message)))


@app.on_sqs_message(queue=here.settle_queue, batch_size=1, name="settle")
def settle_upload(event: SQSEvent) -> dict[str, Any]:
    return edge.each(event, lambda message: onward(undo.rows(message) or settle.contested(message)))


@app.on_sqs_message(queue=here.dead_queue, batch_size=1, name="bury")
def bury(event: SQSEvent) -> dict[str, Any]:
    return edge.each(event, lambda message: onward(mend.bury(message)))


@app.on_sqs_message(queue=here.receipt_queue, batch_size=1, name="receipt")
def attest_upload(event: SQSEvent) -> dict[str, Any]:
    deadline = edge.deadline(event)
    return edge.each(event, lambda message: attest.work(message, deadline))


# ---- telling people ----------------------------------------------------------------------------------------


@app.on_sqs_message(queue=here.notify_queue, batch_size=1, name="notify")
def tell(event: SQSEvent) -> dict[str, Any]:
    return edge.each(event, notify.tell)


# ---- the clock, the operator, files for download, and the one function that may change tables --------------


@app.schedule(Rate(1, unit=Rate.MINUTES), name="sweep")
def sweep(event: CloudWatchEvent) -> dict[str, int]:
    return edge.swept(event, lambda: mend.sweep(onward))


@app.lambda_function(name="doctor")
def examine(event: dict[str, Any], context: object) -> dict[str, Any]:
    return edge.called(event, doctor.examine)


@app.lambda_function(name="render")
def render(event: dict[str, Any], context: object) -> dict[str, Any]:
    return edge.called(event, rejects.make)


@app.lambda_function(name="define")
def define(event: dict[str, Any], context: object) -> dict[str, Any]:
    return edge.called(event, catalog.define)
