-- What was removed of an ended build, and when. What stands in `removals` is said to be removed and may still be there.

ALTER TABLE builds ADD COLUMN log_removed_at BIGINT;
ALTER TABLE builds ADD COLUMN source_removed_at BIGINT;

CREATE TABLE removals (
    build_id TEXT NOT NULL,
    what TEXT NOT NULL,
    PRIMARY KEY (build_id, what)
);

CREATE INDEX builds_with_log ON builds (finished_at) WHERE log_removed_at IS NULL;
CREATE INDEX builds_with_source ON builds (finished_at, source_bytes)
    WHERE source_removed_at IS NULL AND source_bytes IS NOT NULL;
