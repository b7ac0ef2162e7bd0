-- Exports that were asked for and not removed yet. owner: who may see it. counted: whom it is counted for.
-- state: 1 waiting, 2 running, 3 complete, 4 failed. asked, outcome: JSON documents of the export.
-- attempt: how often it was begun; its files lie under that number. leased_until: until then a node works on it, and none
-- other begins it again. expires_at: then it is removed.
CREATE TABLE export_job (
    id           TEXT    PRIMARY KEY,
    owner        TEXT    NOT NULL,
    counted      TEXT    NOT NULL,
    state        INTEGER NOT NULL,
    asked        TEXT    NOT NULL,
    outcome      TEXT,
    progress     TEXT    NOT NULL,
    created_at   INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    leased_until INTEGER NOT NULL,
    expires_at   INTEGER
) STRICT, WITHOUT ROWID;

-- What was deleted, for exports of what changed since some moment.
CREATE INDEX resource_deleted ON resource (rtype, last_updated, rid) WHERE live = 0 AND version > 0;
