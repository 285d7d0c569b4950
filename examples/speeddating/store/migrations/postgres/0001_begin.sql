-- Times have a zone. Every key is random or made of the people it is about, so
-- that no two things can ever share one, and compares by bytes.

CREATE TABLE users (
	id           text COLLATE "C" PRIMARY KEY,
	name         text NOT NULL,
	gender       text NOT NULL,
	selfie_id    text NOT NULL DEFAULT '',
	socials      text NOT NULL DEFAULT '{}',
	email        text COLLATE "C" UNIQUE,
	password     bytea,
	standing     integer NOT NULL DEFAULT 0,
	talk_seconds bigint NOT NULL DEFAULT 0,
	calls        bigint NOT NULL DEFAULT 0,
	created_at   timestamptz NOT NULL
);
CREATE INDEX users_standing ON users (id) WHERE standing = 1;
-- The sweep of guests who can never return: whom to look at, the oldest first.
CREATE INDEX users_idle ON users (created_at) WHERE email IS NULL AND calls = 0;

CREATE TABLE media (
	id      text COLLATE "C" PRIMARY KEY,
	user_id text COLLATE "C" NOT NULL UNIQUE REFERENCES users,
	type    text NOT NULL,
	bytes   bytea NOT NULL
);
ALTER TABLE media ALTER COLUMN bytes SET STORAGE EXTERNAL; -- pictures are compressed already

CREATE TABLE sessions (
	hash       bytea PRIMARY KEY,
	user_id    text COLLATE "C" NOT NULL REFERENCES users,
	expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires_at);

-- Two rows a pair, so that one person's are one range.
CREATE TABLE cooldowns (
	user_id  text COLLATE "C" NOT NULL,
	other_id text COLLATE "C" NOT NULL,
	until    timestamptz NOT NULL,
	PRIMARY KEY (user_id, other_id)
);
CREATE INDEX cooldowns_until ON cooldowns (until);

CREATE TABLE intros (
	code       text COLLATE "C" PRIMARY KEY,
	by_id      text COLLATE "C" NOT NULL REFERENCES users,
	to_id      text COLLATE "C" NOT NULL REFERENCES users,
	expires_at timestamptz NOT NULL
);
CREATE INDEX intros_by ON intros (by_id, expires_at);
CREATE INDEX intros_to ON intros (to_id);
CREATE INDEX intros_expires ON intros (expires_at);

CREATE TABLE introductions (
	user_id  text COLLATE "C" NOT NULL,
	other_id text COLLATE "C" NOT NULL,
	by_name  text NOT NULL,
	PRIMARY KEY (user_id, other_id)
);

CREATE TABLE reports (
	by_id    text COLLATE "C" NOT NULL REFERENCES users,
	about_id text COLLATE "C" NOT NULL REFERENCES users,
	reason   text NOT NULL,
	at       timestamptz NOT NULL,
	settled  boolean NOT NULL DEFAULT false,
	PRIMARY KEY (by_id, about_id)
);
CREATE INDEX reports_about ON reports (about_id, settled);

CREATE TABLE nodes (
	node        text COLLATE "C" NOT NULL,
	incarnation text COLLATE "C" NOT NULL,
	beat_at     timestamptz NOT NULL,
	lease_until timestamptz NOT NULL,
	PRIMARY KEY (node, incarnation)
);

CREATE TABLE calls (
	room_id     text COLLATE "C" PRIMARY KEY,
	node        text COLLATE "C" NOT NULL,
	incarnation text COLLATE "C" NOT NULL,
	caller_id   text COLLATE "C" NOT NULL REFERENCES users,
	callee_id   text COLLATE "C" NOT NULL REFERENCES users,
	agreed      integer NOT NULL,
	started_at  timestamptz NOT NULL,
	ends_at     timestamptz NOT NULL
);
CREATE INDEX calls_owner ON calls (node, incarnation);
CREATE INDEX calls_caller ON calls (caller_id);
CREATE INDEX calls_callee ON calls (callee_id);

-- One call a person, on whatever server: the primary key holds it.
CREATE TABLE call_members (
	user_id text COLLATE "C" PRIMARY KEY REFERENCES users,
	room_id text COLLATE "C" NOT NULL REFERENCES calls ON DELETE CASCADE
);
CREATE INDEX call_members_room ON call_members (room_id);

-- What was said in running calls, for the case that the server dies: a line of
-- chat or handles, as JSON, and whose it is.
CREATE TABLE call_said (
	room_id text COLLATE "C" NOT NULL REFERENCES calls ON DELETE CASCADE,
	seq     integer NOT NULL,
	from_id text COLLATE "C" NOT NULL,
	chat    text,
	socials text,
	PRIMARY KEY (room_id, seq)
);

-- One row for each side of a call.
CREATE TABLE histories (
	user_id    text COLLATE "C" NOT NULL REFERENCES users,
	other_id   text COLLATE "C" NOT NULL REFERENCES users,
	room_id    text COLLATE "C" NOT NULL,
	started_at timestamptz NOT NULL,
	ended_at   timestamptz NOT NULL,
	seconds    integer NOT NULL,
	reason     text NOT NULL,
	chat       text NOT NULL,
	socials    text NOT NULL,
	PRIMARY KEY (user_id, other_id, room_id)
);
CREATE INDEX histories_newest ON histories (user_id, ended_at, room_id);
CREATE INDEX histories_ended ON histories (ended_at);
CREATE INDEX histories_other ON histories (other_id);

CREATE TABLE history_archive (
	user_id    text COLLATE "C" NOT NULL REFERENCES users,
	other_id   text COLLATE "C" NOT NULL REFERENCES users,
	room_id    text COLLATE "C" NOT NULL,
	started_at timestamptz NOT NULL,
	ended_at   timestamptz NOT NULL,
	seconds    integer NOT NULL,
	reason     text NOT NULL,
	chat       text NOT NULL,
	socials    text NOT NULL,
	PRIMARY KEY (user_id, other_id, room_id)
);
CREATE INDEX history_archive_newest ON history_archive (user_id, ended_at, room_id);
CREATE INDEX history_archive_other ON history_archive (other_id);

-- What a server writes to see whether a disk that was full has room again.
CREATE TABLE probe (
	id    integer PRIMARY KEY,
	noise bytea NOT NULL
);
