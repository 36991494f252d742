-- Moments are microseconds since 1970, ids and digests text, so that SQLite and PostgreSQL take the same statements.

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    name TEXT,
    personal_org TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE organizations (
    id TEXT PRIMARY KEY,
    slug TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    url TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE members (
    org_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    role TEXT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX members_of_user ON members (user_id);

CREATE TABLE invites (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    hash TEXT NOT NULL UNIQUE,
    expires_at BIGINT NOT NULL,
    UNIQUE (org_id, email)
);

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    hash TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
    org_id TEXT REFERENCES organizations (id) ON DELETE CASCADE,
    cap TEXT NOT NULL,
    description TEXT,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX tokens_of_user ON tokens (user_id);
CREATE INDEX tokens_of_org ON tokens (org_id);

CREATE TABLE logins (
    hash TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    expires_at BIGINT NOT NULL
);

CREATE TABLE pipelines (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    slug TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    repository TEXT NOT NULL,
    repo_name TEXT,
    default_branch TEXT NOT NULL,
    allow_manual BOOLEAN NOT NULL,
    last_number BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (org_id, slug)
);

CREATE TABLE builds (
    id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    pipeline_id TEXT NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    state TEXT NOT NULL,
    branch TEXT NOT NULL,
    commit_sha TEXT NOT NULL,
    message TEXT,
    cause TEXT NOT NULL,
    env TEXT NOT NULL,
    source_bytes BIGINT,
    source_url TEXT,
    source_sha256 TEXT,
    plan TEXT NOT NULL,
    error_code TEXT,
    error_message TEXT,
    created_at BIGINT NOT NULL,
    scheduled_at BIGINT,
    started_at BIGINT,
    finished_at BIGINT,
    attempt BIGINT NOT NULL,
    base_seq BIGINT NOT NULL,
    runner_hash TEXT,
    sealed BOOLEAN NOT NULL,
    UNIQUE (pipeline_id, number)
);
CREATE INDEX builds_by_state ON builds (state, id);
CREATE INDEX builds_unsealed ON builds (sealed) WHERE NOT sealed;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    build_id TEXT NOT NULL REFERENCES builds (id) ON DELETE CASCADE,
    place BIGINT NOT NULL,
    step_key TEXT NOT NULL,
    name TEXT NOT NULL,
    command TEXT NOT NULL,
    depends_on TEXT NOT NULL,
    state TEXT NOT NULL,
    exit_code BIGINT,
    soft_failed BOOLEAN NOT NULL,
    message TEXT,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    finished_at BIGINT,
    UNIQUE (build_id, place)
);

CREATE TABLE queue (
    build_id TEXT PRIMARY KEY,
    org_id TEXT NOT NULL,
    labels TEXT NOT NULL,
    place BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    losses BIGINT NOT NULL,
    agent TEXT,
    until BIGINT
);
CREATE INDEX queue_waiting ON queue (org_id, place) WHERE agent IS NULL;
CREATE INDEX queue_leased ON queue (until) WHERE agent IS NOT NULL;
