package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// StartCall makes the call durable: two statements.
func (s *SQLite) StartCall(ctx context.Context, c dating.Call) error {
	return s.do(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO calls (room_id, node, incarnation, caller_id, callee_id, agreed, started_at, ends_at)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			c.RoomID, c.Node, c.Incarnation, c.Members[0], c.Members[1], c.AgreedSeconds, ms(c.StartedAt), ms(c.EndsAt))
		if err := changed(n, err, dating.ErrConflict); err != nil {
			return err
		}
		n, err = t.exec(`INSERT INTO call_members (user_id, room_id) VALUES (?1, ?3), (?2, ?3) ON CONFLICT DO NOTHING`, c.Members[0], c.Members[1], c.RoomID)
		if err == nil && n != 2 {
			return dating.ErrBusy // one of them is in another call
		}
		return err
	})
}

// AddChat keeps what was said in running calls: one statement for all.
func (s *SQLite) AddChat(ctx context.Context, said []dating.Pending) error {
	if len(said) == 0 {
		return nil
	}
	all, err := encode(said, "[]")
	if err != nil {
		return err
	}
	return s.do(ctx, func(t *tx) error {
		_, err := t.exec(`INSERT INTO call_said (room_id, seq, chat, socials)
			SELECT c.room_id, j.value ->> 'Seq', j.value -> 'Chat', j.value -> 'Socials'
			FROM json_each(?) j JOIN calls c ON c.room_id = j.value ->> 'RoomID'
			WHERE true ON CONFLICT DO NOTHING`, all)
		return err
	})
}

// EndCall removes the call and writes what it leaves: four statements.
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
		_, err = t.exec(`INSERT INTO histories (user_id, other_id, room_id, started_at, ended_at, seconds, reason, chat, socials)
			VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9), (?2, ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9)`,
			a, b, c.RoomID, ms(c.StartedAt), ms(c.EndedAt), seconds, c.Reason, chat, socials)
		if err != nil {
			return err
		}
		err = t.rows(`UPDATE users SET talk_seconds = talk_seconds + ?, calls = calls + 1 WHERE id IN (?, ?) RETURNING id, talk_seconds, calls`,
			[]any{seconds, a, b}, func(r scanner) error {
				var id dating.UserID
				var x dating.Totals
				err := r.Scan(&id, &x.TalkSeconds, &x.Calls)
				totals[id] = x
				return err
			})
		if err != nil {
			return err
		}
		return t.setCooldown(a, b, c.Cooldown)
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
	index := map[string]int{}
	err := s.rows(ctx, `SELECT c.room_id, c.node, c.incarnation, c.caller_id, c.callee_id, c.agreed, c.started_at, c.ends_at, coalesce(n.beat_at, 0), s.chat, s.socials
		FROM (SELECT c.* FROM calls c LEFT JOIN nodes n USING (node, incarnation)
			WHERE (c.node = ?1 AND c.incarnation <> ?2) OR (c.node <> ?1 AND coalesce(n.lease_until, c.ends_at) <= ?3) LIMIT ?4) c
		LEFT JOIN nodes n USING (node, incarnation) LEFT JOIN call_said s ON s.room_id = c.room_id
		ORDER BY c.room_id, s.seq`, []any{node, incarnation, ms(now), limit}, func(r scanner) error {
		var o dating.Orphan
		var started, ends, beat int64
		var chat, socials *string
		if err := r.Scan(&o.RoomID, &o.Node, &o.Incarnation, &o.Members[0], &o.Members[1], &o.AgreedSeconds, &started, &ends, &beat, &chat, &socials); err != nil {
			return err
		}
		i, ok := index[o.RoomID]
		if !ok {
			i = len(list)
			index[o.RoomID] = i
			o.StartedAt, o.EndsAt, o.LastBeat = at(started), at(ends), at(beat)
			list = append(list, o)
		}
		if chat != nil {
			var line dating.ChatLine
			if err := json.Unmarshal([]byte(*chat), &line); err != nil {
				return err
			}
			list[i].Chat = append(list[i].Chat, line)
		}
		if socials != nil {
			var given dating.SocialShared
			if err := json.Unmarshal([]byte(*socials), &given); err != nil {
				return err
			}
			list[i].Socials = append(list[i].Socials, given)
		}
		return nil
	})
	return list, err
}
