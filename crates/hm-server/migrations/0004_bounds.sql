-- Nothing that is made with a session lives longer than this, where a key that expires made the session.

ALTER TABLE tokens ADD COLUMN bound BIGINT;
ALTER TABLE logins ADD COLUMN bound BIGINT;
