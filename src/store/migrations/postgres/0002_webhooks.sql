-- Webhooks, and what waits to be delivered to them: the same tables as in SQLite, whose fourth step
-- this one is. A webhook's secret signs what is sent, so its text is kept.
-- Times are milliseconds since the Unix epoch.

CREATE TABLE webhooks (
    id            TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    owner         TEXT   COLLATE "C" NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    url           TEXT   NOT NULL,
    -- The names of the events that are wanted, with spaces between them.
    events        TEXT   NOT NULL,
    description   TEXT,
    secret        TEXT   NOT NULL,
    created_at_ms BIGINT NOT NULL
);

CREATE INDEX webhooks_by_owner ON webhooks (owner, created_at_ms, id);

-- In the order of their places. The body is JSON, as it is sent.
CREATE TABLE webhook_deliveries (
    place         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id            TEXT   COLLATE "C" NOT NULL UNIQUE,
    webhook_id    TEXT   COLLATE "C" NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event         TEXT   NOT NULL,
    -- The call that it is of: who erases the call erases this.
    call_id       TEXT   COLLATE "C",
    body          TEXT   NOT NULL,
    -- How often it was tried in vain, and when it is tried next.
    attempts      BIGINT NOT NULL,
    due_at_ms     BIGINT NOT NULL
);

CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, place);
CREATE INDEX webhook_deliveries_by_call ON webhook_deliveries (call_id) WHERE call_id IS NOT NULL;
