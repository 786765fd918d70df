-- The SHA-256 of the Idempotency-Key under which an account was made: who lost the answer may sign up again.
ALTER TABLE rowmill.account ADD COLUMN asked bytea;
