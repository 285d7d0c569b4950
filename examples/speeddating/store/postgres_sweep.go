package store

import (
	"context"
	"time"
)

// The sweeps of several servers work on different rows: each passes over what
// another has locked.

// ArchiveHistory moves what ended before then to the archive: one statement,
// which inserts exactly what it deletes.
func (s *Postgres) ArchiveHistory(ctx context.Context, before time.Time, limit int) (moved int, err error) {
	const columns = `user_id, other_id, room_id, started_at, ended_at, seconds, reason, chat, socials`
	_, err = s.change(ctx, `WITH old AS (SELECT user_id, other_id, room_id FROM histories WHERE ended_at < $1
			ORDER BY ended_at LIMIT $2 FOR UPDATE SKIP LOCKED),
		gone AS (DELETE FROM histories h USING old
			WHERE h.user_id = old.user_id AND h.other_id = old.other_id AND h.room_id = old.room_id RETURNING h.*),
		kept AS (INSERT INTO history_archive (`+columns+`) SELECT `+columns+` FROM gone ON CONFLICT DO NOTHING)
		SELECT count(*) FROM gone`, []any{before, limit}, func(r scanner) error { return r.Scan(&moved) })
	return moved, err
}

// SweepSessions deletes sessions that are over.
func (s *Postgres) SweepSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.exec(ctx, `DELETE FROM sessions WHERE hash = ANY(ARRAY(
		SELECT hash FROM sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`, now, limit)
}

// SweepCooldowns deletes cooldowns that are over.
func (s *Postgres) SweepCooldowns(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.exec(ctx, `WITH over AS (SELECT user_id, other_id FROM cooldowns WHERE until <= $1 ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED)
		DELETE FROM cooldowns c USING over WHERE c.user_id = over.user_id AND c.other_id = over.other_id`, now, limit)
}

// SweepIntros deletes links that are over.
func (s *Postgres) SweepIntros(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.exec(ctx, `DELETE FROM intros WHERE code = ANY(ARRAY(
		SELECT code FROM intros WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`, now, limit)
}

// SweepNodes forgets incarnations that died before then and own no call.
func (s *Postgres) SweepNodes(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.exec(ctx, `WITH dead AS (SELECT node, incarnation FROM nodes n WHERE lease_until <= $1
			AND NOT EXISTS (SELECT FROM calls c WHERE c.node = n.node AND c.incarnation = n.incarnation) LIMIT $2 FOR UPDATE SKIP LOCKED)
		DELETE FROM nodes n USING dead WHERE n.node = dead.node AND n.incarnation = dead.incarnation`, before, limit)
}

// SweepGuests deletes guests of before then who can never return and whom
// nobody else's past needs, with their picture and who introduced them: one
// statement. Whoever comes to need one of them meanwhile finds the row locked, and
// then gone.
func (s *Postgres) SweepGuests(ctx context.Context, before time.Time, limit int) (n int, err error) {
	return s.exec(ctx, `WITH lost AS (SELECT id FROM users WHERE email IS NULL AND calls = 0 AND created_at < $1
			AND NOT EXISTS (SELECT FROM sessions WHERE user_id = users.id)
			AND NOT EXISTS (SELECT FROM call_members WHERE user_id = users.id)
			AND NOT EXISTS (SELECT FROM intros WHERE by_id = users.id)
			AND NOT EXISTS (SELECT FROM intros WHERE to_id = users.id)
			AND NOT EXISTS (SELECT FROM reports WHERE by_id = users.id AND NOT settled)
			AND NOT EXISTS (SELECT FROM reports WHERE about_id = users.id AND NOT settled)
			AND NOT EXISTS (SELECT FROM histories WHERE user_id = users.id)
			AND NOT EXISTS (SELECT FROM history_archive WHERE user_id = users.id)
			ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED),
		pictures AS (DELETE FROM media WHERE user_id IN (SELECT id FROM lost)),
		said AS (DELETE FROM reports r USING lost WHERE r.by_id = lost.id),
		heard AS (DELETE FROM reports r USING lost WHERE r.about_id = lost.id),
		links AS (DELETE FROM introductions i USING lost WHERE i.user_id = lost.id),
		back AS (DELETE FROM introductions i USING lost, introductions mine
			WHERE mine.user_id = lost.id AND i.user_id = mine.other_id AND i.other_id = mine.user_id)
		DELETE FROM users USING lost WHERE users.id = lost.id`, before, limit)
}
