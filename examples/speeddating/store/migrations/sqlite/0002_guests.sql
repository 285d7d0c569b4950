-- The sweep of guests who can never return: whom to look at, the oldest first.
CREATE INDEX users_idle ON users (created_at) WHERE email IS NULL AND calls = 0;

-- Whoever is deleted is looked for in every table that may name them.
CREATE INDEX intros_to ON intros (to_id);
CREATE INDEX calls_caller ON calls (caller_id);
CREATE INDEX calls_callee ON calls (callee_id);
CREATE INDEX histories_other ON histories (other_id);
CREATE INDEX history_archive_other ON history_archive (other_id);
