-- Every resource that was ever stored or mentioned, with its current version.
-- version 0: only mentioned by a reference so far. live 0: mentioned or deleted, found by no read and no search.
CREATE TABLE resource (
    rid          INTEGER PRIMARY KEY,
    rtype        INTEGER NOT NULL,
    id           TEXT    NOT NULL,
    version      INTEGER NOT NULL,
    live         INTEGER NOT NULL,
    last_updated INTEGER NOT NULL,
    body         TEXT
) STRICT;
CREATE UNIQUE INDEX resource_name ON resource (rtype, id);
CREATE INDEX resource_live ON resource (rtype, rid) WHERE live = 1;
CREATE INDEX resource_updated ON resource (rtype, last_updated, rid) WHERE live = 1;

-- One row for each version, in order of writing: the history and the log of events. kind: 1 POST, 2 PUT,
-- 3 DELETE, 4 PUT where nothing was.
-- body is the zstd-compressed resource once a later version stands in resource; NULL for the current one and deletions.
CREATE TABLE version (
    seq     INTEGER PRIMARY KEY,
    rid     INTEGER NOT NULL,
    rtype   INTEGER NOT NULL,
    version INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    xid     INTEGER NOT NULL DEFAULT 0,
    body    BLOB
) STRICT;
CREATE UNIQUE INDEX version_of_resource ON version (rid, version);
CREATE INDEX version_of_type ON version (rtype, seq);

-- The search index: one table for each kind of value, clustered by what is asked for, and by resource for the probes.
CREATE TABLE index_token (
    param INTEGER NOT NULL, code TEXT NOT NULL, rid INTEGER NOT NULL, system INTEGER NOT NULL,
    PRIMARY KEY (param, code, rid, system)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_token_rid ON index_token (rid, param);

CREATE TABLE index_string (
    param INTEGER NOT NULL, value TEXT NOT NULL, rid INTEGER NOT NULL, exact TEXT NOT NULL,
    PRIMARY KEY (param, value, rid, exact)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_string_rid ON index_string (rid, param);

CREATE TABLE index_date (
    param INTEGER NOT NULL, lo INTEGER NOT NULL, hi INTEGER NOT NULL, rid INTEGER NOT NULL,
    PRIMARY KEY (param, lo, hi, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_date_rid ON index_date (rid, param);

CREATE TABLE index_reference (
    param INTEGER NOT NULL, target INTEGER NOT NULL, rid INTEGER NOT NULL,
    PRIMARY KEY (param, target, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_reference_rid ON index_reference (rid, param);

CREATE TABLE index_uri (
    param INTEGER NOT NULL, value TEXT NOT NULL, rid INTEGER NOT NULL,
    PRIMARY KEY (param, value, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_uri_rid ON index_uri (rid, param);

CREATE TABLE index_position (
    param INTEGER NOT NULL, cell INTEGER NOT NULL, rid INTEGER NOT NULL, x REAL NOT NULL, y REAL NOT NULL, z REAL NOT NULL,
    PRIMARY KEY (param, cell, rid)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_position_rid ON index_position (rid, param);

CREATE TABLE index_quantity (
    param INTEGER NOT NULL, value REAL NOT NULL, rid INTEGER NOT NULL, system INTEGER NOT NULL, code TEXT NOT NULL,
    PRIMARY KEY (param, value, rid, system, code)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_quantity_rid ON index_quantity (rid, param);

CREATE TABLE index_composite (
    param INTEGER NOT NULL, code TEXT NOT NULL, rid INTEGER NOT NULL, system INTEGER NOT NULL, lo INTEGER NOT NULL,
    hi INTEGER NOT NULL, PRIMARY KEY (param, code, rid, system, lo, hi)
) STRICT, WITHOUT ROWID;
CREATE INDEX index_composite_rid ON index_composite (rid, param);

-- What all nodes of one database share: the key that signs page cursors.
CREATE TABLE shared (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- How far an import of a source has come: units (lines, entries, files) that are committed.
CREATE TABLE import_progress (
    source TEXT PRIMARY KEY,
    units  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
