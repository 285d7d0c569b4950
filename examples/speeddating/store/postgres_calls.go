package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// StartCall makes the call durable: one statement. The primary key of
// call_members refuses a second call of either; its rows are written in one
// order whoever calls whom, so that no two statements wait for each other.
func (s *Postgres) StartCall(ctx context.Context, c dating.Call) error {
	_, err := s.exec(ctx, `WITH c AS (
			INSERT INTO calls (room_id, node, incarnation, caller_id, callee_id, agreed, started_at, ends_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING room_id, caller_id, callee_id)
		INSERT INTO call_members (user_id, room_id)
		SELECT m.id, c.room_id FROM c CROSS JOIN LATERAL (VALUES (c.caller_id), (c.callee_id)) m (id) ORDER BY m.id`,
		c.RoomID, c.Node, c.Incarnation, c.Members[0], c.Members[1], c.AgreedSeconds, c.StartedAt, c.EndsAt)
	switch {
	case violates(err, "call_members_pkey"):
		return dating.ErrBusy
	case violates(err, "calls_pkey"):
		return dating.ErrConflict
	}
	return err
}

// AddChat keeps what was said in running calls, and forgets what is older than
// the last keep lines and than each side's last handles: one statement for all,
// and one more for each kind of which a call holds more.
func (s *Postgres) AddChat(ctx context.Context, said []dating.Pending, keep int) error {
	if len(said) == 0 {
		return nil
	}
	var rooms, from []string
	open := map[string]bool{}
	var seqs []int
	var chats, handles []*string
	long, shared := map[string]bool{}, map[string]bool{}
	for _, p := range said {
		var chat, socials *string
		var by dating.UserID
		if p.Chat != nil {
			text, err := encode(p.Chat, "")
			if err != nil {
				return err
			}
			chat, by = &text, p.Chat.From
			long[p.RoomID] = long[p.RoomID] || p.Seq > keep
		}
		if p.Socials != nil {
			text, err := encode(p.Socials, "")
			if err != nil {
				return err
			}
			socials, by = &text, p.Socials.From
			shared[p.RoomID] = shared[p.RoomID] || p.Seq > 1
		}
		open[p.RoomID] = true
		rooms, seqs, from = append(rooms, p.RoomID), append(seqs, p.Seq), append(from, string(by))
		chats, handles = append(chats, chat), append(handles, socials)
	}
	marked := func(rooms map[string]bool) []string {
		maps.DeleteFunc(rooms, func(_ string, marked bool) bool { return !marked })
		return slices.Sorted(maps.Keys(rooms))
	}
	return s.do(ctx, func(t *pgTx) error {
		// The lock keeps a call from ending between the look and the writing.
		_, err := t.exec(`WITH open AS (SELECT room_id FROM calls WHERE room_id = ANY($6) FOR KEY SHARE)
			INSERT INTO call_said (room_id, seq, from_id, chat, socials)
			SELECT p.room_id, p.seq, p.from_id, p.chat, p.socials
			FROM unnest($1::text[], $2::integer[], $3::text[], $4::text[], $5::text[]) p (room_id, seq, from_id, chat, socials)
			JOIN open ON open.room_id = p.room_id ON CONFLICT DO NOTHING`, rooms, seqs, from, chats, handles, marked(open))
		if err != nil {
			return err
		}
		if rooms := marked(long); len(rooms) > 0 {
			_, err := t.exec(`DELETE FROM call_said s USING unnest($1::text[]) p (room_id)
				WHERE s.room_id = p.room_id AND s.chat IS NOT NULL AND s.seq <= (SELECT x.seq FROM call_said x
					WHERE x.room_id = p.room_id AND x.chat IS NOT NULL ORDER BY x.seq DESC LIMIT 1 OFFSET $2)`, rooms, keep)
			if err != nil {
				return err
			}
		}
		if rooms := marked(shared); len(rooms) > 0 {
			_, err := t.exec(`DELETE FROM call_said s USING unnest($1::text[]) p (room_id)
				WHERE s.room_id = p.room_id AND s.socials IS NOT NULL AND EXISTS (SELECT FROM call_said x
					WHERE x.room_id = s.room_id AND x.seq > s.seq AND x.socials IS NOT NULL AND x.from_id = s.from_id)`, rooms)
			return err
		}
		return nil
	})
}

// Said gives the last of what was said in a call, oldest first.
func (s *Postgres) Said(ctx context.Context, roomID string, keep int) (chat []dating.ChatLine, socials []dating.SocialShared, err error) {
	err = s.rows(ctx, `SELECT chat FROM call_said WHERE room_id = $1 AND chat IS NOT NULL ORDER BY seq DESC LIMIT $2`,
		[]any{roomID, keep}, func(r scanner) error { return scanJSON(r, &chat) })
	if err != nil {
		return nil, nil, err
	}
	slices.Reverse(chat)
	err = s.rows(ctx, `SELECT socials FROM (SELECT DISTINCT ON (from_id) seq, socials FROM call_said
		WHERE room_id = $1 AND socials IS NOT NULL ORDER BY from_id, seq DESC) x ORDER BY seq LIMIT 2`,
		[]any{roomID}, func(r scanner) error { return scanJSON(r, &socials) })
	return chat, socials, err
}

// EndCall removes the call and writes what it leaves: one statement, whose
// parts all depend on the row that it removes, so that of several who end a
// call one does all of it and the others nothing.
func (s *Postgres) EndCall(ctx context.Context, c dating.EndedCall) (map[dating.UserID]dating.Totals, error) {
	if !c.Counts {
		n, err := s.exec(ctx, `DELETE FROM calls WHERE room_id = $1`, c.RoomID)
		return map[dating.UserID]dating.Totals{}, changed(n, err, dating.ErrNotFound)
	}
	chat, err := encode(c.Chat, "[]")
	if err != nil {
		return nil, err
	}
	socials, err := encode(c.Socials, "[]")
	if err != nil {
		return nil, err
	}
	totals := make(map[dating.UserID]dating.Totals, 2)
	n, err := s.change(ctx, `WITH gone AS (DELETE FROM calls WHERE room_id = $1 RETURNING room_id),
		sides AS (SELECT p.me, p.other, gone.room_id FROM gone, (VALUES ($2::text, $3::text), ($3, $2)) p (me, other) ORDER BY p.me COLLATE "C"),
		past AS (INSERT INTO histories (user_id, other_id, room_id, started_at, ended_at, seconds, reason, chat, socials)
			SELECT me, other, room_id, $4, $5, $6, $7, $8, $9 FROM sides),
		apart AS (INSERT INTO cooldowns (user_id, other_id, until) SELECT me, other, $10 FROM sides
			ON CONFLICT (user_id, other_id) DO UPDATE SET until = greatest(cooldowns.until, excluded.until))
		UPDATE users SET talk_seconds = users.talk_seconds + $6, calls = users.calls + 1 FROM sides
		WHERE users.id = sides.me RETURNING users.id, users.talk_seconds, users.calls`,
		[]any{c.RoomID, c.Members[0], c.Members[1], c.StartedAt, c.EndedAt, int(c.EndedAt.Sub(c.StartedAt) / time.Second), c.Reason, chat, socials, c.Cooldown},
		func(r scanner) error {
			var id dating.UserID
			var x dating.Totals
			err := r.Scan(&id, &x.TalkSeconds, &x.Calls)
			totals[id] = x
			return err
		})
	return totals, changed(n, err, dating.ErrNotFound)
}

// Beat says that this incarnation of node lives until then.
func (s *Postgres) Beat(ctx context.Context, node, incarnation string, now, until time.Time) error {
	_, err := s.exec(ctx, `INSERT INTO nodes (node, incarnation, beat_at, lease_until) VALUES ($1, $2, $3, $4)
		ON CONFLICT (node, incarnation) DO UPDATE SET beat_at = excluded.beat_at, lease_until = excluded.lease_until`, node, incarnation, now, until)
	return err
}

// Orphans gives the calls that nobody owns any more.
func (s *Postgres) Orphans(ctx context.Context, node, incarnation string, now time.Time, limit int) ([]dating.Orphan, error) {
	var list []dating.Orphan
	err := s.rows(ctx, `SELECT c.room_id, c.node, c.incarnation, c.caller_id, c.callee_id, c.agreed, c.started_at, c.ends_at, n.beat_at
		FROM calls c LEFT JOIN nodes n USING (node, incarnation)
		WHERE (c.node = $1 AND c.incarnation <> $2) OR (c.node <> $1 AND coalesce(n.lease_until, c.ends_at) <= $3)
		ORDER BY c.room_id LIMIT $4`, []any{node, incarnation, now, limit}, func(r scanner) error {
		var o dating.Orphan
		var beat *time.Time
		if err := r.Scan(&o.RoomID, &o.Node, &o.Incarnation, &o.Members[0], &o.Members[1], &o.AgreedSeconds, &o.StartedAt, &o.EndsAt, &beat); err != nil {
			return err
		}
		o.StartedAt, o.EndsAt = o.StartedAt.UTC(), o.EndsAt.UTC()
		if beat != nil {
			o.LastBeat = beat.UTC()
		}
		list = append(list, o)
		return nil
	})
	return list, err
}
