-- A pipeline's page lists its builds newest first, and ids grow with time.

CREATE INDEX builds_of_pipeline ON builds (pipeline_id, id);
