-- Rooms that users have made. A room's token is kept as its SHA-256; a room without one is open.
-- Times are milliseconds since the Unix epoch.

CREATE TABLE rooms (
    name          TEXT    NOT NULL PRIMARY KEY,
    owner         TEXT    NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash    BLOB,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER
) STRICT;

CREATE INDEX rooms_by_owner ON rooms (owner, created_at_ms, name);
