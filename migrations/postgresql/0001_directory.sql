-- Every resource that was ever stored or mentioned, with its current version.
-- version 0: only mentioned by a reference so far. live 0: mentioned or deleted, found by no read and no search.
CREATE TABLE resource (
    rid          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rtype        SMALLINT NOT NULL,
    id           TEXT COLLATE "C" NOT NULL,
    version      BIGINT NOT NULL,
    live         SMALLINT NOT NULL,
    last_updated BIGINT NOT NULL,
    body         TEXT
);
CREATE UNIQUE INDEX resource_name ON resource (rtype, id);
CREATE INDEX resource_live ON resource (rtype, rid) WHERE live = 1;
CREATE INDEX resource_updated ON resource (rtype, last_updated, rid) WHERE live = 1;

-- One row for each version, in order of writing: the history and the log of events. kind: 1 POST, 2 PUT,
-- 3 DELETE, 4 PUT where nothing was.
-- body is the zstd-compressed resource once a later version stands in resource; NULL for the current one and deletions.
-- xid: the writing transaction. Sequence order is not commit order: read events only below pg_snapshot_xmin.
CREATE TABLE version (
    seq     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rid     BIGINT NOT NULL,
    rtype   SMALLINT NOT NULL,
    version BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    kind    SMALLINT NOT NULL,
    xid     BIGINT NOT NULL DEFAULT (pg_current_xact_id()::text::bigint),
    body    BYTEA
);
CREATE UNIQUE INDEX version_of_resource ON version (rid, version);
CREATE INDEX version_of_type ON version (rtype, seq);

-- The search index: one table for each kind of value, clustered by what is asked for, and by resource for the probes.
CREATE TABLE index_token (
    param INTEGER NOT NULL, code TEXT COLLATE "C" NOT NULL, rid BIGINT NOT NULL, system BIGINT NOT NULL,
    PRIMARY KEY (param, code, rid, system)
);
CREATE INDEX index_token_rid ON index_token (rid, param);

CREATE TABLE index_string (
    param INTEGER NOT NULL, value TEXT COLLATE "C" NOT NULL, rid BIGINT NOT NULL, exact TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (param, value, rid, exact)
);
CREATE INDEX index_string_rid ON index_string (rid, param);

CREATE TABLE index_date (
    param INTEGER NOT NULL, lo BIGINT NOT NULL, hi BIGINT NOT NULL, rid BIGINT NOT NULL,
    PRIMARY KEY (param, lo, hi, rid)
);
CREATE INDEX index_date_rid ON index_date (rid, param);

CREATE TABLE index_reference (
    param INTEGER NOT NULL, target BIGINT NOT NULL, rid BIGINT NOT NULL,
    PRIMARY KEY (param, target, rid)
);
CREATE INDEX index_reference_rid ON index_reference (rid, param);

CREATE TABLE index_uri (
    param INTEGER NOT NULL, value TEXT COLLATE "C" NOT NULL, rid BIGINT NOT NULL,
    PRIMARY KEY (param, value, rid)
);
CREATE INDEX index_uri_rid ON index_uri (rid, param);

CREATE TABLE index_position (
    param INTEGER NOT NULL, cell INTEGER NOT NULL, rid BIGINT NOT NULL, x DOUBLE PRECISION NOT NULL,
    y DOUBLE PRECISION NOT NULL, z DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (param, cell, rid) INCLUDE (x, y, z)
);
CREATE INDEX index_position_rid ON index_position (rid, param);

CREATE TABLE index_quantity (
    param INTEGER NOT NULL, value DOUBLE PRECISION NOT NULL, rid BIGINT NOT NULL, system BIGINT NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (param, value, rid, system, code)
);
CREATE INDEX index_quantity_rid ON index_quantity (rid, param);

CREATE TABLE index_composite (
    param INTEGER NOT NULL, code TEXT COLLATE "C" NOT NULL, rid BIGINT NOT NULL, system BIGINT NOT NULL,
    lo BIGINT NOT NULL, hi BIGINT NOT NULL,
    PRIMARY KEY (param, code, rid, system, lo, hi)
);
CREATE INDEX index_composite_rid ON index_composite (rid, param);

-- What all nodes of one database share: the key that signs page cursors.
CREATE TABLE shared (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

-- How far an import of a source has come: units (lines, entries, files) that are committed.
CREATE TABLE import_progress (
    source TEXT COLLATE "C" PRIMARY KEY,
    units  BIGINT NOT NULL
);
