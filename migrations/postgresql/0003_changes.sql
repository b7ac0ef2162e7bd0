-- The log in order of commits. version.seq is given before a transaction commits, so that a reader who has seen 11 may find
-- 10 later; a position is given afterwards, to what has been committed, and none is ever given below another.
CREATE TABLE change_position (
    position BIGINT PRIMARY KEY,
    seq      BIGINT NOT NULL
);
CREATE UNIQUE INDEX change_position_seq ON change_position (seq);
-- For what has no position yet.
CREATE INDEX version_xid ON version (xid);

-- How far the log has been fanned out. horizon: versions of transactions below it all have positions.
CREATE TABLE fan_out (
    one      SMALLINT NOT NULL PRIMARY KEY CHECK (one = 1),
    position BIGINT NOT NULL,
    horizon  BIGINT NOT NULL
);
-- What was written before has its position; nobody followed it.
INSERT INTO change_position (position, seq) SELECT row_number() OVER (ORDER BY seq), seq FROM version;
INSERT INTO fan_out (one, position, horizon) SELECT 1, COUNT(*), 0 FROM change_position;

-- A recipient and what it is owed. state: 1 starting, 2 active, 3 failed, 4 off. body: the Subscription, in its version at
-- the position changed. counts 1: changes that match are numbered. numbered: the last number given; settled: up to here
-- everything was delivered, or is in held. holder: the node that delivers, until held_until. epoch: grows when the lane is changed
-- from outside; what was found out in an older one is not kept.
CREATE TABLE lane (
    lane          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          TEXT COLLATE "C" NOT NULL,
    state         SMALLINT NOT NULL,
    counts        SMALLINT NOT NULL,
    paused        SMALLINT NOT NULL DEFAULT 0,
    version       BIGINT NOT NULL,
    changed       BIGINT NOT NULL,
    body          TEXT,
    numbered      BIGINT NOT NULL DEFAULT 0,
    settled       BIGINT NOT NULL DEFAULT 0,
    due_at        BIGINT NOT NULL DEFAULT 0,
    failures      BIGINT NOT NULL DEFAULT 0,
    failing_since BIGINT,
    error         TEXT,
    holder        BIGINT,
    held_until    BIGINT NOT NULL DEFAULT 0,
    epoch         BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX lane_name ON lane (name);
CREATE INDEX lane_changed ON lane (changed);

-- The events of a lane by their numbers: 1, 2, 3 and so on, in order of the log.
CREATE TABLE notification (
    lane   BIGINT NOT NULL,
    number BIGINT NOT NULL,
    seq    BIGINT NOT NULL,
    PRIMARY KEY (lane, number)
);

-- Events that were refused and are tried again by themselves, or were given up (dead 1), and those that wait behind one
-- because they are about the same resource (tries 0).
CREATE TABLE held (
    lane    BIGINT NOT NULL,
    number  BIGINT NOT NULL,
    subject BIGINT NOT NULL,
    tries   BIGINT NOT NULL,
    since   BIGINT NOT NULL,
    due_at  BIGINT NOT NULL,
    dead    SMALLINT NOT NULL,
    error   TEXT,
    PRIMARY KEY (lane, number)
);

-- Each call to a recipient: the events first to last, of which there were so many. status: of HTTP; NULL when there was no answer.
CREATE TABLE attempt (
    attempt BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane    BIGINT NOT NULL,
    kind    SMALLINT NOT NULL,
    first   BIGINT NOT NULL,
    last    BIGINT NOT NULL,
    events  BIGINT NOT NULL,
    at      BIGINT NOT NULL,
    ms      BIGINT NOT NULL,
    status  SMALLINT,
    ok      SMALLINT NOT NULL,
    excerpt TEXT
);
CREATE INDEX attempt_lane ON attempt (lane, attempt);
CREATE INDEX attempt_at ON attempt (at);
