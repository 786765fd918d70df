"""The doors of the book API that Rowmill takes the place of: its paths, its names, its statuses, the same machinery.

Declared without a slash at the end, which Chalice allows no route to have. API Gateway and the embedded cloud take a
path with one for the same path without.
"""

from __future__ import annotations

from typing import Any

from chalice.app import Response

from chalicelib import accounts, books, edge, tasks


def declare(app: edge.App) -> None:
    """Add the doors to the application."""
    _accounts(app)
    _books(app)
    _files(app)


def _accounts(app: edge.App) -> None:
    @app.route("/signup", methods=["POST"])
    def book_signup() -> Response:
        made = accounts.signup(edge.body(app), edge.header(app, "idempotency-key"))
        return edge.session(app, 201, _told(made))

    @app.route("/login", methods=["POST"])
    def book_login() -> Response:
        return edge.session(app, 200, _told(accounts.login(edge.body(app), edge.source(app))))


def _told(session: dict[str, Any]) -> dict[str, Any]:
    return {"success": True} | {name: session[name] for name in ("access", "refresh", "user_id", "username")}


def _maker(app: edge.App) -> str:
    """Whose request this is: an owner's, where the dataset of books is still to be made. Raises Refused."""
    return edge.tenant(app) if books.is_there(edge.tenant(app)) else edge.owner(app)


def _books(app: edge.App) -> None:
    @app.route("/books", methods=["GET"])
    def list_books() -> Response:
        return edge.bare(app, books.listing(edge.tenant(app), edge.query(app)))

    @app.route("/books", methods=["POST"])
    def create_book() -> Response:
        picture = edge.sent_file(app, "picture")
        book = books.create(_maker(app), edge.body(app), picture, edge.request_id(app))
        return edge.answer(201, book, {"Location": f"/books/{book['id']}/"})

    @app.route("/books/{book_id}", methods=["GET"])
    def get_book(book_id: str) -> Response:
        return edge.answer(200, books.get(edge.tenant(app), edge.name(book_id)))

    @app.route("/books/{book_id}/edit", methods=["POST"])
    def edit_book(book_id: str) -> Response:
        picture = edge.sent_file(app, "picture")
        return edge.answer(200, books.edit(edge.tenant(app), edge.name(book_id), edge.body(app), picture))

    @app.route("/books/{book_id}/delete", methods=["POST"])
    def delete_book(book_id: str) -> Response:
        books.delete(edge.tenant(app), edge.name(book_id))
        return edge.gone()


def _files(app: edge.App) -> None:
    @app.route("/bulk-upload", methods=["POST"])
    def bulk_upload() -> Response:
        file = edge.sent_file(app, "file")
        assert file is not None, "the contract has it required"
        key = edge.key(app)
        batch = books.load(_maker(app), file, key, edge.asker(app))
        return edge.answer(202, batch, {"Location": f"/batch-status/?batch_id={batch['batch_id']}"})

    @app.route("/task-status", methods=["GET"])
    def task_status() -> Response:
        return edge.answer(200, tasks.task(edge.tenant(app), edge.query(app).filters["task_id"]))

    @app.route("/batch-status", methods=["GET"])
    def batch_status() -> Response:
        asked = edge.query(app)
        batch_id = asked.filters["batch_id"]
        counts, found = tasks.status(edge.tenant(app), batch_id, asked)
        return edge.bare(app, found, counts | {"tasks": found.items})
