-- The token that a browser logged in with: its session ends where that is revoked.

ALTER TABLE tokens ADD COLUMN made_with TEXT;
CREATE INDEX tokens_made_with ON tokens (made_with);
