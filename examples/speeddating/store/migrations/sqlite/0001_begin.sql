-- Times are milliseconds since 1970 in UTC. Every key is random or made of the
-- people it is about, so that no two things can ever share one.

CREATE TABLE users (
	id           TEXT PRIMARY KEY,
	name         TEXT NOT NULL,
	gender       TEXT NOT NULL,
	selfie_id    TEXT NOT NULL DEFAULT '',
	socials      TEXT NOT NULL DEFAULT '{}',
	email        TEXT UNIQUE,
	password     BLOB,
	standing     INTEGER NOT NULL DEFAULT 0,
	talk_seconds INTEGER NOT NULL DEFAULT 0,
	calls        INTEGER NOT NULL DEFAULT 0,
	created_at   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX users_standing ON users (standing) WHERE standing = 1;

CREATE TABLE media (
	id      TEXT PRIMARY KEY,
	user_id TEXT NOT NULL UNIQUE REFERENCES users,
	type    TEXT NOT NULL,
	bytes   BLOB NOT NULL
);

CREATE TABLE sessions (
	hash       BLOB PRIMARY KEY,
	user_id    TEXT NOT NULL REFERENCES users,
	expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- Two rows a pair, so that one person's are one range.
CREATE TABLE cooldowns (
	user_id  TEXT NOT NULL,
	other_id TEXT NOT NULL,
	until    INTEGER NOT NULL,
	PRIMARY KEY (user_id, other_id)
) WITHOUT ROWID;
CREATE INDEX cooldowns_until ON cooldowns (until);

CREATE TABLE intros (
	code       TEXT PRIMARY KEY,
	by_id      TEXT NOT NULL REFERENCES users,
	to_id      TEXT NOT NULL REFERENCES users,
	expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX intros_by ON intros (by_id, expires_at);
CREATE INDEX intros_expires ON intros (expires_at);

CREATE TABLE introductions (
	user_id  TEXT NOT NULL,
	other_id TEXT NOT NULL,
	by_name  TEXT NOT NULL,
	PRIMARY KEY (user_id, other_id)
) WITHOUT ROWID;

CREATE TABLE reports (
	by_id    TEXT NOT NULL REFERENCES users,
	about_id TEXT NOT NULL REFERENCES users,
	reason   TEXT NOT NULL,
	at       INTEGER NOT NULL,
	settled  INTEGER NOT NULL DEFAULT 0,
	PRIMARY KEY (by_id, about_id)
) WITHOUT ROWID;
CREATE INDEX reports_about ON reports (about_id, settled);

CREATE TABLE nodes (
	node        TEXT NOT NULL,
	incarnation TEXT NOT NULL,
	beat_at     INTEGER NOT NULL,
	lease_until INTEGER NOT NULL,
	PRIMARY KEY (node, incarnation)
) WITHOUT ROWID;

CREATE TABLE calls (
	room_id     TEXT PRIMARY KEY,
	node        TEXT NOT NULL,
	incarnation TEXT NOT NULL,
	caller_id   TEXT NOT NULL REFERENCES users,
	callee_id   TEXT NOT NULL REFERENCES users,
	agreed      INTEGER NOT NULL,
	started_at  INTEGER NOT NULL,
	ends_at     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX calls_owner ON calls (node, incarnation);

-- One call a person: the primary key holds it.
CREATE TABLE call_members (
	user_id TEXT PRIMARY KEY REFERENCES users,
	room_id TEXT NOT NULL REFERENCES calls ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX call_members_room ON call_members (room_id);

-- What was said in running calls, for the case that the server dies: a line of
-- chat or handles, as JSON.
CREATE TABLE call_said (
	room_id TEXT NOT NULL REFERENCES calls ON DELETE CASCADE,
	seq     INTEGER NOT NULL,
	chat    TEXT,
	socials TEXT,
	PRIMARY KEY (room_id, seq)
) WITHOUT ROWID;

-- One row for each side of a call.
CREATE TABLE histories (
	user_id    TEXT NOT NULL REFERENCES users,
	other_id   TEXT NOT NULL REFERENCES users,
	room_id    TEXT NOT NULL,
	started_at INTEGER NOT NULL,
	ended_at   INTEGER NOT NULL,
	seconds    INTEGER NOT NULL,
	reason     TEXT NOT NULL,
	chat       TEXT NOT NULL,
	socials    TEXT NOT NULL,
	PRIMARY KEY (user_id, other_id, room_id)
);
CREATE INDEX histories_newest ON histories (user_id, ended_at, room_id);
CREATE INDEX histories_ended ON histories (ended_at);

CREATE TABLE history_archive (
	user_id    TEXT NOT NULL REFERENCES users,
	other_id   TEXT NOT NULL REFERENCES users,
	room_id    TEXT NOT NULL,
	started_at INTEGER NOT NULL,
	ended_at   INTEGER NOT NULL,
	seconds    INTEGER NOT NULL,
	reason     TEXT NOT NULL,
	chat       TEXT NOT NULL,
	socials    TEXT NOT NULL,
	PRIMARY KEY (user_id, other_id, room_id)
);
CREATE INDEX history_archive_newest ON history_archive (user_id, ended_at, room_id);
