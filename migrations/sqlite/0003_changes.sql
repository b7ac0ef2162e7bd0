-- How far the log has been fanned out. With one writer the order of version.seq is that of the commits, so a seq is a position.
-- horizon: PostgreSQL only.
CREATE TABLE fan_out (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    position INTEGER NOT NULL,
    horizon  INTEGER NOT NULL
) STRICT;
-- Nobody followed what was written before.
INSERT INTO fan_out (one, position, horizon) SELECT 1, COALESCE(MAX(seq), 0), 0 FROM version;

-- A recipient and what it is owed. state: 1 starting, 2 active, 3 failed, 4 off. body: the Subscription, in its version at
-- the position changed. counts 1: changes that match are numbered. numbered: the last number given; settled: up to here
-- everything was delivered, or is in held. holder: the node that delivers, until held_until. epoch: grows when the lane is changed
-- from outside; what was found out in an older one is not kept.
CREATE TABLE lane (
    lane          INTEGER PRIMARY KEY,
    name          TEXT NOT NULL,
    state         INTEGER NOT NULL,
    counts        INTEGER NOT NULL,
    paused        INTEGER NOT NULL DEFAULT 0,
    version       INTEGER NOT NULL,
    changed       INTEGER NOT NULL,
    body          TEXT,
    numbered      INTEGER NOT NULL DEFAULT 0,
    settled       INTEGER NOT NULL DEFAULT 0,
    due_at        INTEGER NOT NULL DEFAULT 0,
    failures      INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    error         TEXT,
    holder        INTEGER,
    held_until    INTEGER NOT NULL DEFAULT 0,
    epoch         INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE UNIQUE INDEX lane_name ON lane (name);
CREATE INDEX lane_changed ON lane (changed);

-- The events of a lane by their numbers: 1, 2, 3 and so on, in order of the log.
CREATE TABLE notification (
    lane   INTEGER NOT NULL,
    number INTEGER NOT NULL,
    seq    INTEGER NOT NULL,
    PRIMARY KEY (lane, number)
) STRICT, WITHOUT ROWID;

-- Events that were refused and are tried again by themselves, or were given up (dead 1), and those that wait behind one
-- because they are about the same resource (tries 0).
CREATE TABLE held (
    lane    INTEGER NOT NULL,
    number  INTEGER NOT NULL,
    subject INTEGER NOT NULL,
    tries   INTEGER NOT NULL,
    since   INTEGER NOT NULL,
    due_at  INTEGER NOT NULL,
    dead    INTEGER NOT NULL,
    error   TEXT,
    PRIMARY KEY (lane, number)
) STRICT, WITHOUT ROWID;

-- Each call to a recipient: the events first to last, of which there were so many. status: of HTTP; NULL when there was no answer.
CREATE TABLE attempt (
    attempt INTEGER PRIMARY KEY,
    lane    INTEGER NOT NULL,
    kind    INTEGER NOT NULL,
    first   INTEGER NOT NULL,
    last    INTEGER NOT NULL,
    events  INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    ms      INTEGER NOT NULL,
    status  INTEGER,
    ok      INTEGER NOT NULL,
    excerpt TEXT
) STRICT;
CREATE INDEX attempt_lane ON attempt (lane, attempt);
CREATE INDEX attempt_at ON attempt (at);
