-- All that the store keeps. The same tables as in SQLite, whose first three steps this one is.
-- Ids and names are compared byte by byte, as SQLite does, and whatever the locale of the database.
-- Times are milliseconds since the Unix epoch.

CREATE TABLE users (
    id            TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    email         TEXT   COLLATE "C" NOT NULL,
    name          TEXT,
    created_at_ms BIGINT NOT NULL
);

-- In this collation only the letters of ASCII have case, as in SQLite's NOCASE.
CREATE UNIQUE INDEX users_by_email ON users (lower(email));

CREATE TABLE api_keys (
    id              TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    owner           TEXT   COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    hash            BYTEA  NOT NULL UNIQUE,
    preview         TEXT   NOT NULL,
    name            TEXT,
    created_at_ms   BIGINT NOT NULL,
    expires_at_ms   BIGINT,
    last_used_at_ms BIGINT
);

CREATE INDEX api_keys_by_owner ON api_keys (owner, created_at_ms);

CREATE TABLE agents (
    id            TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    owner         TEXT   COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    user_id       TEXT   COLLATE "C",
    metadata      TEXT   NOT NULL,
    spec          TEXT   NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT
);

CREATE INDEX agents_by_owner ON agents (owner, created_at_ms, id);

-- A row lives exactly as long as its agent, so this is "at most one live agent per user".
CREATE UNIQUE INDEX agents_one_per_user ON agents (owner, user_id) WHERE user_id IS NOT NULL;

CREATE TABLE tombstones (
    agent_id      TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    owner         TEXT   COLLATE "C" NOT NULL,
    expired_at_ms BIGINT NOT NULL
);

CREATE INDEX tombstones_by_age ON tombstones (expired_at_ms);

CREATE TABLE calls (
    id            TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    owner         TEXT   COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The agent that was in it last, and its name.
    agent_id      TEXT   COLLATE "C" NOT NULL,
    agent_name    TEXT   NOT NULL,
    user_id       TEXT   COLLATE "C",
    room_url      TEXT   NOT NULL,
    started_at_ms BIGINT NOT NULL,
    -- When the newest entry came: where a call ends whose end nobody has told.
    last_at_ms    BIGINT NOT NULL,
    -- Both are there or neither: a call without them is live.
    ended_at_ms   BIGINT,
    reason        TEXT,
    -- Whether entries of it were lost: 0 or 1.
    incomplete    BIGINT NOT NULL DEFAULT 0
);

CREATE INDEX calls_by_owner ON calls (owner, started_at_ms, id) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX calls_by_end ON calls (ended_at_ms);

-- Every agent that was in a call, for an owner who looks for one agent's calls.
CREATE TABLE call_agents (
    agent_id TEXT COLLATE "C" NOT NULL,
    call_id  TEXT COLLATE "C" NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    PRIMARY KEY (agent_id, call_id)
);

CREATE INDEX call_agents_by_call ON call_agents (call_id);

-- In the order of their ids. The body is JSON.
CREATE TABLE call_entries (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call_id  TEXT   COLLATE "C" NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    agent_id TEXT   COLLATE "C" NOT NULL,
    body     TEXT   NOT NULL
);

CREATE INDEX call_entries_by_call ON call_entries (call_id, id);

-- A room's token is kept as its SHA-256; a room without one is open.
CREATE TABLE rooms (
    name          TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    owner         TEXT   COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash    BYTEA,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT
);

CREATE INDEX rooms_by_owner ON rooms (owner, created_at_ms, name);
