-- What authorization keeps: a JSON document for each client, account, session, code, grant, token that was revoked or used.
-- kind says what it is; names that are secrets are kept as digests. What has an expires_at is forgotten some time after it.
CREATE TABLE auth_record (
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    body       TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX auth_record_expires ON auth_record (expires_at);

-- An AuditEvent (type 29) that is written stays as it was written.
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON resource WHEN OLD.rtype = 29 AND OLD.version > 0
BEGIN SELECT RAISE(ABORT, 'an AuditEvent is not changed'); END;
CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON resource WHEN OLD.rtype = 29 AND OLD.version > 0
BEGIN SELECT RAISE(ABORT, 'an AuditEvent is not deleted'); END;
