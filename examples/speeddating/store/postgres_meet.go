package store

import (
	"context"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// viewer is whose relations are asked for: those in force at now, of each kind at
// most limit.
type viewer struct {
	id    dating.UserID
	now   time.Time
	limit int
}

// relative is one of them.
type relative struct {
	kind  int // 1: cooldown until, 2: reported, 3: introduced by
	other dating.UserID
	until time.Time
	by    string
}

// Relations gives what one person's view of the others depends on.
func (s *Postgres) Relations(ctx context.Context, id dating.UserID, now time.Time, limit int) (dating.Relations, error) {
	rel := dating.Relations{Cooldowns: map[dating.UserID]time.Time{}, Introduced: map[dating.UserID]string{}}
	list, _, err := s.relations.get(ctx, viewer{id, now, limit})
	for _, r := range list {
		switch r.kind {
		case 1:
			rel.Cooldowns[r.other] = r.until.UTC()
		case 2:
			rel.Reported = append(rel.Reported, r.other)
		case 3:
			rel.Introduced[r.other] = r.by
		}
	}
	return rel, err
}

func (s *Postgres) relationsOf(ctx context.Context, viewers []viewer) (map[viewer][]relative, error) {
	var ids []dating.UserID
	var nows []time.Time
	var limits []int
	for _, v := range viewers {
		ids, nows, limits = append(ids, v.id), append(nows, v.now), append(limits, v.limit)
	}
	got := make(map[viewer][]relative, len(viewers))
	err := s.rows(ctx, `SELECT v.n, r.kind, r.other, r.until, r.by
		FROM unnest($1::text[], $2::timestamptz[], $3::bigint[]) WITH ORDINALITY v (id, now, most, n), LATERAL (
			(SELECT 1, other_id, until, '' FROM cooldowns WHERE user_id = v.id AND until > v.now ORDER BY until DESC LIMIT v.most)
			UNION ALL (SELECT 2, about_id, v.now, '' FROM reports WHERE by_id = v.id LIMIT v.most)
			UNION ALL (SELECT 3, other_id, v.now, by_name FROM introductions WHERE user_id = v.id LIMIT v.most)
		) r (kind, other, until, by)`,
		[]any{ids, nows, limits}, func(r scanner) error {
			var n int
			var one relative
			if err := r.Scan(&n, &one.kind, &one.other, &one.until, &one.by); err != nil {
				return err
			}
			v := viewers[n-1]
			got[v] = append(got[v], one)
			return nil
		})
	return got, err
}

// SetCooldown keeps a and b apart until then, or longer if they are already.
// Both rows are written in one order whoever asks, so that two cannot wait for
// each other.
func (s *Postgres) SetCooldown(ctx context.Context, a, b dating.UserID, until time.Time) error {
	_, err := s.exec(ctx, `INSERT INTO cooldowns (user_id, other_id, until)
		SELECT p.me, p.other, $3 FROM (VALUES ($1::text, $2::text), ($2, $1)) p (me, other) ORDER BY p.me COLLATE "C"
		ON CONFLICT (user_id, other_id) DO UPDATE SET until = greatest(cooldowns.until, excluded.until)`, a, b, until)
	return err
}

// AddIntro adds a link unless its maker has keep open ones.
func (s *Postgres) AddIntro(ctx context.Context, in dating.Intro, now time.Time, keep int) error {
	return s.do(ctx, func(t *pgTx) error {
		if err := t.lockUser(in.By); err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO intros (code, by_id, to_id, expires_at) SELECT $1, $2, $3, $4
			WHERE (SELECT count(*) FROM intros WHERE by_id = $2 AND expires_at > $5) < $6`,
			in.Code, in.By, in.To, in.ExpiresAt, now, keep)
		return changed(n, err, dating.ErrConflict)
	})
}

// Intro gives a link that is in force at now.
func (s *Postgres) Intro(ctx context.Context, code string, now time.Time) (dating.Intro, error) {
	in := dating.Intro{Code: code}
	err := s.row(ctx, `SELECT by_id, to_id, expires_at FROM intros WHERE code = $1 AND expires_at > $2`, []any{code, now}, &in.By, &in.To, &in.ExpiresAt)
	in.ExpiresAt = in.ExpiresAt.UTC()
	return in, err
}

// AddReport records r; with threshold reporters its subject is in review. Those
// who report one person take turns, so that each counts the ones before: also
// with several servers exactly one of them is the last that it takes.
func (s *Postgres) AddReport(ctx context.Context, r dating.Report, talked time.Duration, threshold int) (reporters int, standing dating.Standing, err error) {
	err = s.do(ctx, func(t *pgTx) error {
		met := false
		err := t.rows(`SELECT EXISTS (SELECT FROM histories WHERE user_id = $1 AND other_id = $2)
			OR EXISTS (SELECT FROM history_archive WHERE user_id = $1 AND other_id = $2)
			OR EXISTS (SELECT FROM call_members a JOIN call_members b ON a.room_id = b.room_id JOIN calls c ON c.room_id = a.room_id
				WHERE a.user_id = $1 AND b.user_id = $2 AND c.started_at <= $3)
			FROM users WHERE id = $2 FOR NO KEY UPDATE`,
			[]any{r.By, r.About, r.At.Add(-talked)}, func(row scanner) error { return row.Scan(&met) })
		if err == nil && !met {
			err = dating.ErrNotTalked
		}
		if err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO reports (by_id, about_id, reason, at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`, r.By, r.About, r.Reason, r.At)
		if err := changed(n, err, dating.ErrConflict); err != nil {
			return err
		}
		return t.rows(`UPDATE users SET standing = CASE WHEN standing = 0 AND n.reporters >= $2 THEN 1 ELSE standing END
			FROM (SELECT count(*) AS reporters FROM reports WHERE about_id = $1 AND NOT settled) n
			WHERE id = $1 RETURNING standing, n.reporters`,
			[]any{r.About, threshold}, func(row scanner) error { return row.Scan(&standing, &reporters) })
	})
	return reporters, standing, err
}

// UnderReview lists who waits for a decision, with what was said about them.
func (s *Postgres) UnderReview(ctx context.Context, limit int) ([]dating.ReviewCase, error) {
	var cases []dating.ReviewCase
	err := s.rows(ctx, `SELECT u.id, u.name, r.by_id, r.reason, r.at
		FROM (SELECT id, name FROM users WHERE standing = 1 ORDER BY id LIMIT $1) u JOIN reports r ON r.about_id = u.id AND NOT r.settled
		ORDER BY u.id, r.at`, []any{limit}, func(row scanner) error {
		var id dating.UserID
		var name string
		var r dating.Report
		if err := row.Scan(&id, &name, &r.By, &r.Reason, &r.At); err != nil {
			return err
		}
		if n := len(cases); n == 0 || cases[n-1].UserID != id {
			cases = append(cases, dating.ReviewCase{UserID: id, Name: name})
		}
		r.About, r.At = id, r.At.UTC()
		last := &cases[len(cases)-1]
		last.Reports = append(last.Reports, r)
		return nil
	})
	return cases, err
}

// Decide sets a person's standing; Good settles the reports so far.
func (s *Postgres) Decide(ctx context.Context, id dating.UserID, st dating.Standing) error {
	return s.do(ctx, func(t *pgTx) error {
		n, err := t.exec(`UPDATE users SET standing = $2 WHERE id = $1`, id, st)
		if err := changed(n, err, dating.ErrNotFound); err != nil || st != dating.Good {
			return err
		}
		_, err = t.exec(`UPDATE reports SET settled = true WHERE about_id = $1 AND NOT settled`, id)
		return err
	})
}
