package store

import (
	"context"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// ArchiveHistory moves what ended before then to the archive. Both statements
// name the same rows, in one transaction: nothing is deleted that was not archived.
func (s *SQLite) ArchiveHistory(ctx context.Context, before time.Time, limit int) (moved int, err error) {
	err = s.do(ctx, func(t *tx) error {
		var keys []int64
		err := t.rows(`SELECT rowid FROM histories WHERE ended_at < ? ORDER BY ended_at LIMIT ?`, []any{ms(before), limit}, func(r scanner) error {
			keys = append(keys, 0)
			return r.Scan(&keys[len(keys)-1])
		})
		moved = len(keys)
		if err != nil || moved == 0 {
			return err
		}
		list, err := encode(keys, "[]")
		if err != nil {
			return err
		}
		const columns = `user_id, other_id, room_id, started_at, ended_at, seconds, reason, chat, socials`
		if _, err := t.exec(`INSERT INTO history_archive (`+columns+`) SELECT `+columns+` FROM histories
			WHERE rowid IN (SELECT value FROM json_each(?)) ON CONFLICT DO NOTHING`, list); err != nil {
			return err
		}
		_, err = t.exec(`DELETE FROM histories WHERE rowid IN (SELECT value FROM json_each(?))
			AND EXISTS (SELECT 1 FROM history_archive a WHERE a.user_id = histories.user_id AND a.other_id = histories.other_id AND a.room_id = histories.room_id)`, list)
		return err
	})
	return moved, err
}

// SweepSessions deletes sessions that are over.
func (s *SQLite) SweepSessions(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.sweep(ctx, `DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE expires_at <= ? LIMIT ?)`, now, limit)
}

// SweepCooldowns deletes cooldowns that are over.
func (s *SQLite) SweepCooldowns(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.sweep(ctx, `DELETE FROM cooldowns WHERE (user_id, other_id) IN (SELECT user_id, other_id FROM cooldowns WHERE until <= ? LIMIT ?)`, now, limit)
}

// SweepIntros deletes links that are over.
func (s *SQLite) SweepIntros(ctx context.Context, now time.Time, limit int) (int, error) {
	return s.sweep(ctx, `DELETE FROM intros WHERE code IN (SELECT code FROM intros WHERE expires_at <= ? LIMIT ?)`, now, limit)
}

// SweepNodes forgets incarnations that died before then and own no call.
func (s *SQLite) SweepNodes(ctx context.Context, before time.Time, limit int) (int, error) {
	return s.sweep(ctx, `DELETE FROM nodes WHERE (node, incarnation) IN (SELECT node, incarnation FROM nodes n WHERE lease_until <= ?
		AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.node = n.node AND c.incarnation = n.incarnation) LIMIT ?)`, before, limit)
}

// SweepGuests deletes guests of before then who can never return and whom
// nobody else's past needs, with their picture and who introduced them.
func (s *SQLite) SweepGuests(ctx context.Context, before time.Time, limit int) (n int, err error) {
	err = s.do(ctx, func(t *tx) error {
		var ids []dating.UserID
		err := t.rows(`SELECT id FROM users WHERE email IS NULL AND calls = 0 AND created_at < ?
			AND NOT EXISTS (SELECT 1 FROM sessions WHERE user_id = users.id)
			AND NOT EXISTS (SELECT 1 FROM call_members WHERE user_id = users.id)
			AND NOT EXISTS (SELECT 1 FROM intros WHERE by_id = users.id)
			AND NOT EXISTS (SELECT 1 FROM intros WHERE to_id = users.id)
			AND NOT EXISTS (SELECT 1 FROM reports WHERE by_id = users.id AND settled = 0)
			AND NOT EXISTS (SELECT 1 FROM reports WHERE about_id = users.id AND settled = 0)
			AND NOT EXISTS (SELECT 1 FROM histories WHERE user_id = users.id)
			AND NOT EXISTS (SELECT 1 FROM history_archive WHERE user_id = users.id)
			ORDER BY created_at LIMIT ?`, []any{ms(before), limit}, func(r scanner) error {
			ids = append(ids, "")
			return r.Scan(&ids[len(ids)-1])
		})
		n = len(ids)
		if err != nil || n == 0 {
			return err
		}
		list, err := encode(ids, "[]")
		if err != nil {
			return err
		}
		for _, text := range []string{
			`DELETE FROM media WHERE user_id IN (SELECT value FROM json_each(?))`,
			`DELETE FROM reports WHERE by_id IN (SELECT value FROM json_each(?1)) OR about_id IN (SELECT value FROM json_each(?1))`,
			`DELETE FROM introductions WHERE (user_id, other_id) IN (
				SELECT other_id, user_id FROM introductions WHERE user_id IN (SELECT value FROM json_each(?)))`,
			`DELETE FROM introductions WHERE user_id IN (SELECT value FROM json_each(?))`,
			`DELETE FROM users WHERE id IN (SELECT value FROM json_each(?))`,
		} {
			if _, err := t.exec(text, list); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func (s *SQLite) sweep(ctx context.Context, text string, now time.Time, limit int) (n int, err error) {
	err = s.do(ctx, func(t *tx) (err error) {
		n, err = t.exec(text, ms(now), limit)
		return err
	})
	return n, err
}
