package store

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// StartCall makes the call durable: one statement, and the trigger that writes
// its members with it.
func (s *SQLite) StartCall(ctx context.Context, c dating.Call) error {
	return s.do(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO calls (room_id, node, incarnation, caller_id, callee_id, agreed, started_at, ends_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
			c.RoomID, c.Node, c.Incarnation, c.Members[0], c.Members[1], c.AgreedSeconds, ms(c.StartedAt), ms(c.EndsAt))
		switch {
		case doubles(err, "call_members.user_id"):
			return dating.ErrBusy // one of them is in another call
		case doubles(err, "calls.room_id"):
			return dating.ErrConflict
		}
		return err
	})
}

// doubles reports whether err is that a key is there already.
func doubles(err error, key string) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY && strings.HasSuffix(strings.TrimRight(e.Error(), " ()0123456789"), key)
}

// AddChat keeps what was said in running calls, and forgets what is older than
// the last keep lines and than each side's last handles: three statements for
// all, and only those who went beyond are looked at.
func (s *SQLite) AddChat(ctx context.Context, said []dating.Pending, keep int) error {
	if len(said) == 0 {
		return nil
	}
	all, err := encode(said, "[]")
	if err != nil {
		return err
	}
	long, shared := map[string]bool{}, map[string]bool{}
	for _, p := range said {
		if p.Chat != nil && p.Seq > keep {
			long[p.RoomID] = true
		}
		if p.Socials != nil && p.Seq > 1 {
			shared[p.RoomID] = true
		}
	}
	return s.do(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO call_said (room_id, seq, chat, socials)
			SELECT c.room_id, j.value ->> 'Seq', j.value -> 'Chat', j.value -> 'Socials'
			FROM json_each(?) j JOIN calls c ON c.room_id = j.value ->> 'RoomID'
			WHERE true ON CONFLICT DO NOTHING`, all)
		if err != nil {
			return err
		}
		for _, trim := range []struct {
			rooms map[string]bool
			text  string
			args  []any
		}{
			{long, `DELETE FROM call_said WHERE (room_id, seq) IN (SELECT s.room_id, s.seq FROM json_each(?1) j CROSS JOIN call_said s
				ON s.room_id = j.value AND s.seq <= (SELECT x.seq FROM call_said x WHERE x.room_id = j.value AND x.chat IS NOT NULL
					ORDER BY x.seq DESC LIMIT 1 OFFSET ?2)
				WHERE s.chat IS NOT NULL)`, []any{keep}},
			{shared, `DELETE FROM call_said WHERE (room_id, seq) IN (SELECT s.room_id, s.seq FROM json_each(?) j CROSS JOIN call_said s
				ON s.room_id = j.value
				WHERE s.socials IS NOT NULL AND EXISTS (SELECT 1 FROM call_said x
					WHERE x.room_id = s.room_id AND x.seq > s.seq AND x.socials ->> 'from' = s.socials ->> 'from'))`, nil},
		} {
			if len(trim.rooms) == 0 {
				continue
			}
			rooms, err := encode(slices.Collect(maps.Keys(trim.rooms)), "[]")
			if err != nil {
				return err
			}
			if _, err := t.exec(trim.text, append([]any{rooms}, trim.args...)...); err != nil {
				return err
			}
		}
		return nil
	})
}

// Said gives the last of what was said in a call, oldest first.
func (s *SQLite) Said(ctx context.Context, roomID string, keep int) (chat []dating.ChatLine, socials []dating.SocialShared, err error) {
	err = s.rows(ctx, `SELECT chat FROM call_said WHERE room_id = ? AND chat IS NOT NULL ORDER BY seq DESC LIMIT ?`,
		[]any{roomID, keep}, func(r scanner) error { return scanJSON(r, &chat) })
	if err != nil {
		return nil, nil, err
	}
	slices.Reverse(chat)
	// Beside max() SQLite gives the other columns of the row that has it.
	err = s.rows(ctx, `SELECT socials FROM (SELECT socials, max(seq) AS seq FROM call_said
		WHERE room_id = ? AND socials IS NOT NULL GROUP BY socials ->> 'from') ORDER BY seq LIMIT 2`,
		[]any{roomID}, func(r scanner) error { return scanJSON(r, &socials) })
	return chat, socials, err
}

// EndCall removes the call and writes what it leaves: three statements, and the
// trigger that keeps the two apart.
func (s *SQLite) EndCall(ctx context.Context, c dating.EndedCall) (map[dating.UserID]dating.Totals, error) {
	chat, err := encode(c.Chat, "[]")
	if err != nil {
		return nil, err
	}
	socials, err := encode(c.Socials, "[]")
	if err != nil {
		return nil, err
	}
	var totals map[dating.UserID]dating.Totals
	err = s.do(ctx, func(t *tx) error {
		totals = make(map[dating.UserID]dating.Totals, 2)
		n, err := t.exec(`DELETE FROM calls WHERE room_id = ?`, c.RoomID) // and by it its members and what was said
		if err := changed(n, err, dating.ErrNotFound); err != nil || !c.Counts {
			return err
		}
		a, b := c.Members[0], c.Members[1]
		seconds := int64(c.EndedAt.Sub(c.StartedAt) / time.Second)
		_, err = t.exec(`INSERT INTO histories (user_id, other_id, room_id, started_at, ended_at, seconds, reason, chat, socials, apart_until)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10), (?2, ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)`,
			a, b, c.RoomID, ms(c.StartedAt), ms(c.EndedAt), seconds, c.Reason, chat, socials, ms(c.Cooldown))
		if err != nil {
			return err
		}
		return t.rows(`UPDATE users SET talk_seconds = talk_seconds + ?, calls = calls + 1 WHERE id IN (?, ?) RETURNING id, talk_seconds, calls`,
			[]any{seconds, a, b}, func(r scanner) error {
				var id dating.UserID
				var x dating.Totals
				err := r.Scan(&id, &x.TalkSeconds, &x.Calls)
				totals[id] = x
				return err
			})
	})
	return totals, err
}

// Beat says that this incarnation of node lives until then.
func (s *SQLite) Beat(ctx context.Context, node, incarnation string, now, until time.Time) error {
	return s.do(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO nodes (node, incarnation, beat_at, lease_until) VALUES (?, ?, ?, ?)
			ON CONFLICT DO UPDATE SET beat_at = excluded.beat_at, lease_until = excluded.lease_until`, node, incarnation, ms(now), ms(until))
		return err
	})
}

// Orphans gives the calls that nobody owns any more.
func (s *SQLite) Orphans(ctx context.Context, node, incarnation string, now time.Time, limit int) ([]dating.Orphan, error) {
	var list []dating.Orphan
	err := s.rows(ctx, `SELECT c.room_id, c.node, c.incarnation, c.caller_id, c.callee_id, c.agreed, c.started_at, c.ends_at, coalesce(n.beat_at, 0)
		FROM calls c LEFT JOIN nodes n USING (node, incarnation)
		WHERE (c.node = ?1 AND c.incarnation <> ?2) OR (c.node <> ?1 AND coalesce(n.lease_until, c.ends_at) <= ?3)
		ORDER BY c.room_id LIMIT ?4`, []any{node, incarnation, ms(now), limit}, func(r scanner) error {
		var o dating.Orphan
		var started, ends, beat int64
		if err := r.Scan(&o.RoomID, &o.Node, &o.Incarnation, &o.Members[0], &o.Members[1], &o.AgreedSeconds, &started, &ends, &beat); err != nil {
			return err
		}
		o.StartedAt, o.EndsAt, o.LastBeat = at(started), at(ends), at(beat)
		list = append(list, o)
		return nil
	})
	return list, err
}
