-- Who is logged in. A login begins a session, which ends for good when it is revoked: then it is not here any more.
CREATE TABLE rowmill.session (
    session_id text PRIMARY KEY,
    user_id    text NOT NULL REFERENCES rowmill.account ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX session_of_account ON rowmill.session (user_id);
CREATE INDEX session_expiry ON rowmill.session (expires_at);

-- A session's refresh tokens, by their SHA-256; each may be used once. Spent ones are kept while the session lasts:
-- one that is shown again was copied.
CREATE TABLE rowmill.refresh_token (
    hash       bytea PRIMARY KEY,
    session_id text NOT NULL REFERENCES rowmill.session ON DELETE CASCADE,
    parent     bytea,                             -- the token that this one was given for
    request    bytea,                             -- SHA-256 of the Idempotency-Key that it was asked for with
    spent_at   timestamptz
);
CREATE INDEX refresh_token_of_session ON rowmill.refresh_token (session_id);

-- Failed logins, by name and by address, as a hash of either: so many count at `at`, and one less each so many seconds.
-- Unlogged: a crash of the server forgives them.
CREATE UNLOGGED TABLE rowmill.login_failure (
    who   bytea PRIMARY KEY,
    level double precision NOT NULL,
    at    timestamptz NOT NULL DEFAULT now()
);

-- Keys for machines, by their SHA-256; `prefix` is what people tell them by.
CREATE TABLE rowmill.api_key (
    key_id     text PRIMARY KEY,
    user_id    text NOT NULL REFERENCES rowmill.account ON DELETE CASCADE,
    name       text NOT NULL,
    prefix     text NOT NULL,
    hash       bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX api_key_of_account ON rowmill.api_key (user_id, key_id);
