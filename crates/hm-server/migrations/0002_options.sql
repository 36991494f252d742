-- How a build runs, as JSON: only what was asked for.

ALTER TABLE builds ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
