-- Users, their API keys, their live agents, and the memory of agents that have expired.
-- Times are milliseconds since the Unix epoch.

CREATE TABLE users (
    id            TEXT    NOT NULL PRIMARY KEY,
    email         TEXT    NOT NULL UNIQUE COLLATE NOCASE,
    name          TEXT,
    created_at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id              TEXT    NOT NULL PRIMARY KEY,
    owner           TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash            BLOB    NOT NULL UNIQUE,
    preview         TEXT    NOT NULL,
    name            TEXT,
    created_at_ms   INTEGER NOT NULL,
    expires_at_ms   INTEGER,
    last_used_at_ms INTEGER
) STRICT;

CREATE INDEX api_keys_by_owner ON api_keys (owner, created_at_ms);

CREATE TABLE agents (
    id            TEXT    NOT NULL PRIMARY KEY,
    owner         TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    user_id       TEXT,
    metadata      TEXT    NOT NULL,
    spec          TEXT    NOT NULL,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER
) STRICT;

CREATE INDEX agents_by_owner ON agents (owner, created_at_ms, id);

-- A row lives exactly as long as its agent, so this is "at most one live agent per user".
CREATE UNIQUE INDEX agents_one_per_user ON agents (owner, user_id) WHERE user_id IS NOT NULL;

CREATE TABLE tombstones (
    agent_id      TEXT    NOT NULL PRIMARY KEY,
    owner         TEXT    NOT NULL,
    expired_at_ms INTEGER NOT NULL
) STRICT;

CREATE INDEX tombstones_by_age ON tombstones (expired_at_ms);
