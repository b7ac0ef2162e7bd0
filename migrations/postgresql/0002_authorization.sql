-- What authorization keeps: a JSON document for each client, account, session, code, grant, token that was revoked or used.
-- kind says what it is; names that are secrets are kept as digests. What has an expires_at is forgotten some time after it.
CREATE TABLE auth_record (
    kind       TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    body       TEXT NOT NULL,
    expires_at BIGINT,
    PRIMARY KEY (kind, name)
);
CREATE INDEX auth_record_expires ON auth_record (expires_at);

-- An AuditEvent (type 29) that is written stays as it was written.
CREATE FUNCTION refuse_change_of_audit() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'an AuditEvent is not changed'; END $$;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE OR DELETE ON resource FOR EACH ROW
WHEN (OLD.rtype = 29 AND OLD.version > 0) EXECUTE FUNCTION refuse_change_of_audit();
