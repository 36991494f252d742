-- How often an agent gave the build back, from when on it may be taken again, and whether its log says that no agent has its labels.
ALTER TABLE queue ADD COLUMN returns BIGINT NOT NULL DEFAULT 0;
ALTER TABLE queue ADD COLUMN ready BIGINT NOT NULL DEFAULT 0;
ALTER TABLE queue ADD COLUMN noted BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX queue_labels ON queue (org_id, labels, place, build_id) WHERE agent IS NULL;
