-- The archive: calls, the agents that were in them, and what happened, entry by entry.
-- Times are milliseconds since the Unix epoch.

CREATE TABLE calls (
    id            TEXT    NOT NULL PRIMARY KEY,
    owner         TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The agent that was in it last, and its name.
    agent_id      TEXT    NOT NULL,
    agent_name    TEXT    NOT NULL,
    user_id       TEXT,
    room_url      TEXT    NOT NULL,
    started_at_ms INTEGER NOT NULL,
    -- When the newest entry came: where a call ends whose end nobody has told.
    last_at_ms    INTEGER NOT NULL,
    -- Both are there or neither: a call without them is live.
    ended_at_ms   INTEGER,
    reason        TEXT,
    -- Whether entries of it were lost.
    incomplete    INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX calls_by_owner ON calls (owner, started_at_ms, id) WHERE ended_at_ms IS NOT NULL;
CREATE INDEX calls_by_end ON calls (ended_at_ms);

-- Every agent that was in a call, for an owner who looks for one agent's calls.
CREATE TABLE call_agents (
    agent_id TEXT NOT NULL,
    call_id  TEXT NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    PRIMARY KEY (agent_id, call_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX call_agents_by_call ON call_agents (call_id);

-- In the order of their ids. The body is JSON.
CREATE TABLE call_entries (
    id       INTEGER NOT NULL PRIMARY KEY,
    call_id  TEXT    NOT NULL REFERENCES calls (id) ON DELETE CASCADE,
    agent_id TEXT    NOT NULL,
    body     TEXT    NOT NULL
) STRICT;

CREATE INDEX call_entries_by_call ON call_entries (call_id, id);
