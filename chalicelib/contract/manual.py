"""The contract as one page of HTML: no script, no font, no picture, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from html import escape
from typing import Final

from chalicelib.contract.document import ABOUT, by_status, path_parameters
from chalicelib.contract.table import OPERATIONS, PATH, SCHEMAS
from chalicelib.contract.words import TEXT, Operation, Parameter, Schema
from chalicelib.forms import MULTIPART

_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2127;--soft:#59636e;--line:#d8dee4;--paper:#fff;--raised:#f6f8fa;--link:#0b5cad;
--get:#0a6b3d;--post:#0b5cad;--put:#8a5000;--delete:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9aa5b1;--line:#30363d;--paper:#0e1217;--raised:#171c23;
--link:#79b8ff;--get:#56d48a;--post:#79b8ff;--put:#f0b35a;--delete:#ff8a80}}
*{box-sizing:border-box}html{scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}
.all{display:grid;grid-template-columns:17rem minmax(0,1fr);max-width:76rem;margin:auto}
header{grid-column:1/-1;padding:1.5rem 1rem 1rem;border-bottom:1px solid var(--line)}
nav{position:sticky;top:0;align-self:start;max-height:100vh;overflow:auto;padding:1.5rem 1rem 2rem;font-size:.875rem}
nav summary{font-weight:600;cursor:pointer;padding:.25rem 0}nav ul{list-style:none;margin:.25rem 0 1rem;padding:0}
nav li a{display:block;padding:.2rem 0}main{padding:0 1.5rem 6rem;border-left:1px solid var(--line)}
h1{font-size:1.9rem;line-height:1.2;margin:.2rem 0 .6rem}h2{font-size:1.35rem;margin:3rem 0 .5rem}
h3{font-size:1.05rem;margin:0}h4{font-size:.85rem;color:var(--soft);margin:1.2rem 0 .3rem}
article{border:1px solid var(--line);border-radius:8px;padding:1rem 1.1rem;margin:1rem 0}
article:target{border-color:var(--link)}p{margin:.4rem 0;max-width:70ch}
code,pre{font:.85rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
.path{overflow-wrap:anywhere;color:var(--soft);margin:.15rem 0 .3rem;display:block}
.path b{margin-right:.4rem}.GET{color:var(--get)}.POST{color:var(--post)}.PUT,.PATCH{color:var(--put)}
.DELETE{color:var(--delete)}
pre{background:var(--raised);border:1px solid var(--line);border-radius:6px;padding:.7rem .8rem;overflow:auto;
margin:.4rem 0}
table{border-collapse:collapse;width:100%;font-size:.875rem}
td{border-top:1px solid var(--line);padding:.35rem .8rem .35rem 0;vertical-align:top}
td:first-child{width:32%;overflow-wrap:anywhere}td:last-child{padding-right:0}.soft{color:var(--soft)}
details>summary{cursor:pointer;font-size:.85rem;font-weight:600;color:var(--soft);margin-top:1.1rem}
@media(max-width:52rem){.all{display:block}nav{position:static;max-height:none;padding:1rem 1rem 0}
main{border:0;padding:0 1rem 4rem}article{padding:.8rem .8rem}td:first-child{width:42%}}
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_CONVENTIONS: Final = (
    (
        "Errors",
        "RFC 9457, <code>application/problem+json</code>. <code>code</code> is stable, <code>detail</code> is for"
        " people, and <code>errors</code> names each place. 400 is malformed, 422 understood and refused. With 429 and"
        " 503 <code>Retry-After</code> says when to ask again.",
    ),
    (
        "Who may ask",
        "All doors but those marked open want <code>Authorization: Bearer …</code>. What is another tenant's"
        " answers 404, as what is not there.",
    ),
    (
        "Repeats",
        "A request that makes something takes an <code>Idempotency-Key</code>. PUT, complete and cancel may be repeated"
        " as they are; a repeated confirm or redrive answers 409 and changes nothing.",
    ),
    ("Pages", '<code>next_cursor</code>, and the same as <code>Link: rel="next"</code>; null on the last page.'),
    (
        "Polling",
        "<code>ETag</code> and <code>If-None-Match</code>: 304 while nothing has changed; <code>Retry-After</code>"
        " while an upload is under way.",
    ),
    (
        "Limits",
        "Bodies of 4,000,000 bytes, nested 64 deep; 100 headers of 10,240 bytes; a query of 8,192. Unknown fields"
        " and query parameters are refused. There is no HEAD and no OPTIONS: what no"
        " route takes, the gateway answers 403 by itself.",
    ),
)


@cache
def page() -> str:
    """The page. `$ROWMILL_API` and `$ROWMILL_TOKEN` in its examples are what the command line reads, too."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Rowmill API</title><style>{_STYLE}</style></head><body>"
        f'<div class="all"><header><h1>Rowmill API</h1><p>{escape(ABOUT)}</p>'
        '<p>The same as an OpenAPI 3.1 document: <a href="v1/openapi.json">openapi.json</a>.</p></header>'
        f"{_contents()}<main><h2>Conventions</h2>{''.join(_convention(*one) for one in _CONVENTIONS)}"
        f"{''.join(_section(tag) for tag in _tags())}"
        f'<h2 id="schemas">Schemas</h2>{"".join(_named(name) for name in SCHEMAS)}'
        "</main></div></body></html>"
    )


def _tags() -> list[str]:
    return list(dict.fromkeys(one.tag for one in OPERATIONS.values()))


def _of(tag: str) -> list[Operation]:
    return [one for one in OPERATIONS.values() if one.tag == tag]


def _contents() -> str:
    groups = (
        f"<details open><summary>{escape(tag)}</summary><ul>"
        + "".join(f'<li><a href="#{one.name}">{escape(one.summary)}</a></li>' for one in _of(tag))
        + "</ul></details>"
        for tag in _tags()
    )
    return f'<nav aria-label="Contents">{"".join(groups)}<p><a href="#schemas">Schemas</a></p></nav>'


def _convention(title: str, html: str) -> str:
    return f"<h4>{title}</h4><p>{html}</p>"


def _section(tag: str) -> str:
    return f"<h2>{escape(tag)}</h2>{''.join(map(_article, _of(tag)))}"


def _article(one: Operation) -> str:
    return (
        f'<article id="{one.name}"><h3>{escape(one.summary)}</h3>'
        f'<code class="path"><b class="{one.method}">{one.method}</b> {escape(one.path)}'
        f"{' · open' if one.is_open else ''}</code>"
        f"{f'<p>{escape(one.about)}</p>' if one.about else ''}"
        f"<pre>{escape(curl(one))}</pre>{_parameters(one)}{_body(one)}{_answers(one)}{_problems(one)}</article>"
    )


def curl(one: Operation) -> str:
    """The operation as a command that works once its placeholders are filled in."""
    lines = [f'curl{"" if one.method == "GET" else f" -X {one.method}"} "$ROWMILL_API{one.path}"']
    if not one.is_open:
        lines.append('-H "Authorization: Bearer $ROWMILL_TOKEN"')
    if "Idempotency-Key" in one.headers:
        lines.append('-H "Idempotency-Key: $(uuidgen)"')
    if one.body and MULTIPART in one.body.media:
        files = {name: f"@{value}" for name, value in one.body.example.items() if name in one.body.files}
        lines += [f"-F '{name}={value}'" for name, value in {**one.body.example, **files}.items()]
    elif one.body and (one.body.required or one.body.example):
        lines.append('-H "Content-Type: application/json"')
        lines.append("-d " + "'" + json.dumps(one.body.example).replace("'", "'\\''") + "'")
    return " \\\n  ".join(lines)


def _parameters(one: Operation) -> str:
    groups = {
        "In the path": {name: PATH[name] for name in path_parameters(one)},
        "In the query": {**one.query, **({"…": Parameter(TEXT, one.further)} if one.further else {})},
        "Headers": one.headers,
    }
    return "".join(
        f"<h4>{title}</h4>{_table(map(_parameter, found.items()))}" for title, found in groups.items() if found
    )


def _parameter(named: tuple[str, Parameter]) -> tuple[str, str]:
    name, one = named
    return _name(name), _type(one.schema) + _more(one.about)


def _body(one: Operation) -> str:
    if one.body is None:
        return ""
    return f"<h4>Body{'' if one.body.required else ', may be left out'}</h4><p>{_type(one.body.schema)}</p>"


def _answers(one: Operation) -> str:
    rows = (
        (
            f"<b>{status}</b>",
            _marked(answer.about)
            + (f' <span class="soft">with {", ".join(answer.headers)}</span>' if answer.headers else "")
            + (f"<br>{_type(answer.schema)}" if answer.schema else ""),
        )
        for status, answer in one.answers.items()
    )
    return f"<h4>Answers</h4>{_table(rows)}"


def _problems(one: Operation) -> str:
    rows = (
        (f"<b>{status}</b> <code>{error.code}</code>", _marked(error.when))
        for status, errors in by_status(one).items()
        for error in errors
    )
    return f"<details><summary>Refusals</summary>{_table(rows)}</details>"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    return f"<table>{''.join(f'<tr><td>{first}</td><td>{second}</td></tr>' for first, second in rows)}</table>"


def _name(name: str, said: str = "") -> str:
    return f"<code>{escape(name)}</code>" + (f' <span class="soft">{said}</span>' if said else "")


def _more(text: str) -> str:
    return f"<br>{_marked(text)}" if text else ""


def _marked(text: str) -> str:
    """Text with what stands between backquotes as code."""
    return "".join(
        f"<code>{part}</code>" if place % 2 else part for place, part in enumerate(escape(text, quote=False).split("`"))
    )


def _named(name: str) -> str:
    schema = SCHEMAS[name]
    about = f"<p>{_marked(schema['description'])}</p>" if "description" in schema else ""
    return f'<article id="schema-{name}"><h3>{name}</h3>{about}{_members(schema)}</article>'


def _members(schema: Schema) -> str:
    members: Mapping[str, Schema] = schema.get("properties", {})
    if not members:
        return f"<p>{_type(schema)}</p>"
    required, is_asked = schema.get("required", ()), "additionalProperties" in schema
    said = dict.fromkeys(required, "required" if is_asked else "")
    return _table(
        (_name(name, said.get(name, "" if is_asked else "may be missing")), _described(one))
        for name, one in members.items()
    )


def _described(schema: Schema) -> str:
    return _type(schema) + _more(schema.get("description") or schema.get("title", ""))


def _type(schema: Schema) -> str:
    """What a value may be, in a line; objects without a name as a table of their own."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"<code>{escape(json.dumps(one))}</code>" for one in schema["enum"])
    kinds = schema.get("type", "anything")
    said = " or ".join([kinds] if isinstance(kinds, str) else kinds) + "".join(_bounds(schema))
    if "items" in schema:
        return f"{said} of {_type(schema['items'])}"
    return said + (_members(schema) if schema.get("properties") else "")


def _bounds(schema: Schema) -> Iterator[str]:
    """Limits and the default, after the type."""
    for least, most, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " items"),
    ):
        if most in schema:
            yield f", {schema.get(least, 0)} to {schema[most]}{unit}"
        elif schema.get(least):
            yield f", {schema[least]} or more{unit}"
    if "default" in schema:
        yield f", default <code>{escape(json.dumps(schema['default']))}</code>"
    if schema.get("format"):
        yield f", {escape(schema['format'])}"
