package store

import (
	"context"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// Relations gives what one person's view of the others depends on.
func (s *SQLite) Relations(ctx context.Context, id dating.UserID, now time.Time, limit int) (dating.Relations, error) {
	rel := dating.Relations{Cooldowns: map[dating.UserID]time.Time{}, Introduced: map[dating.UserID]string{}}
	err := s.rows(ctx, `SELECT * FROM (
			SELECT 1, other_id, until, '' FROM cooldowns WHERE user_id = ?1 AND until > ?2 ORDER BY until DESC LIMIT ?3)
		UNION ALL SELECT * FROM (SELECT 2, about_id, 0, '' FROM reports WHERE by_id = ?1 LIMIT ?3)
		UNION ALL SELECT * FROM (SELECT 3, other_id, 0, by_name FROM introductions WHERE user_id = ?1 LIMIT ?3)`,
		[]any{id, ms(now), limit}, func(r scanner) error {
			var kind int
			var other dating.UserID
			var until int64
			var by string
			if err := r.Scan(&kind, &other, &until, &by); err != nil {
				return err
			}
			switch kind {
			case 1:
				rel.Cooldowns[other] = at(until)
			case 2:
				rel.Reported = append(rel.Reported, other)
			case 3:
				rel.Introduced[other] = by
			}
			return nil
		})
	return rel, err
}

// SetCooldown keeps a and b apart until then, or longer if they are already.
func (s *SQLite) SetCooldown(ctx context.Context, a, b dating.UserID, until time.Time) error {
	return s.do(ctx, func(t *tx) error { return t.setCooldown(a, b, until) })
}

func (t *tx) setCooldown(a, b dating.UserID, until time.Time) error {
	_, err := t.exec(`INSERT INTO cooldowns (user_id, other_id, until) VALUES (?1, ?2, ?3), (?2, ?1, ?3)
		ON CONFLICT DO UPDATE SET until = max(until, excluded.until)`, a, b, ms(until))
	return err
}

// AddIntro adds a link unless its maker has keep open ones.
func (s *SQLite) AddIntro(ctx context.Context, in dating.Intro, now time.Time, keep int) error {
	return s.do(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO intros (code, by_id, to_id, expires_at) SELECT ?1, ?2, ?3, ?4
			WHERE (SELECT count(*) FROM intros WHERE by_id = ?2 AND expires_at > ?5) < ?6`,
			in.Code, in.By, in.To, ms(in.ExpiresAt), ms(now), keep)
		return changed(n, err, dating.ErrConflict)
	})
}

// Intro gives a link that is in force at now.
func (s *SQLite) Intro(ctx context.Context, code string, now time.Time) (dating.Intro, error) {
	in := dating.Intro{Code: code}
	var expires int64
	err := s.row(ctx, `SELECT by_id, to_id, expires_at FROM intros WHERE code = ? AND expires_at > ?`, []any{code, ms(now)}, &in.By, &in.To, &expires)
	in.ExpiresAt = at(expires)
	return in, err
}

// AddReport records r; with threshold reporters its subject is in review.
func (s *SQLite) AddReport(ctx context.Context, r dating.Report, talked time.Duration, threshold int) (reporters int, standing dating.Standing, err error) {
	err = s.do(ctx, func(t *tx) error {
		met := 0
		err := t.rows(`SELECT EXISTS (SELECT 1 FROM histories WHERE user_id = ?1 AND other_id = ?2)
			OR EXISTS (SELECT 1 FROM history_archive WHERE user_id = ?1 AND other_id = ?2)
			OR EXISTS (SELECT 1 FROM call_members a JOIN call_members b ON a.room_id = b.room_id JOIN calls c ON c.room_id = a.room_id
				WHERE a.user_id = ?1 AND b.user_id = ?2 AND c.started_at <= ?3)`,
			[]any{r.By, r.About, ms(r.At.Add(-talked))}, func(row scanner) error { return row.Scan(&met) })
		if err == nil && met == 0 {
			err = dating.ErrNotTalked
		}
		if err != nil {
			return err
		}
		n, err := t.exec(`INSERT INTO reports (by_id, about_id, reason, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`, r.By, r.About, r.Reason, ms(r.At))
		if err := changed(n, err, dating.ErrConflict); err != nil {
			return err
		}
		return t.rows(`UPDATE users SET standing = iif(standing = 0 AND (SELECT count(*) FROM reports WHERE about_id = ?1 AND settled = 0) >= ?2, 1, standing)
			WHERE id = ?1 RETURNING standing, (SELECT count(*) FROM reports WHERE about_id = ?1 AND settled = 0)`,
			[]any{r.About, threshold}, func(row scanner) error { return row.Scan(&standing, &reporters) })
	})
	return reporters, standing, err
}

// UnderReview lists who waits for a decision, with what was said about them.
func (s *SQLite) UnderReview(ctx context.Context, limit int) ([]dating.ReviewCase, error) {
	var cases []dating.ReviewCase
	err := s.rows(ctx, `SELECT u.id, u.name, r.by_id, r.reason, r.at
		FROM (SELECT id, name FROM users WHERE standing = 1 ORDER BY id LIMIT ?) u JOIN reports r ON r.about_id = u.id AND r.settled = 0
		ORDER BY u.id, r.at`, []any{limit}, func(row scanner) error {
		var id dating.UserID
		var name string
		var r dating.Report
		var when int64
		if err := row.Scan(&id, &name, &r.By, &r.Reason, &when); err != nil {
			return err
		}
		if n := len(cases); n == 0 || cases[n-1].UserID != id {
			cases = append(cases, dating.ReviewCase{UserID: id, Name: name})
		}
		r.About, r.At = id, at(when)
		last := &cases[len(cases)-1]
		last.Reports = append(last.Reports, r)
		return nil
	})
	return cases, err
}

// Decide sets a person's standing; Good settles the reports so far.
func (s *SQLite) Decide(ctx context.Context, id dating.UserID, st dating.Standing) error {
	return s.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE users SET standing = ? WHERE id = ?`, st, id)
		if err := changed(n, err, dating.ErrNotFound); err != nil || st != dating.Good {
			return err
		}
		_, err = t.exec(`UPDATE reports SET settled = 1 WHERE about_id = ? AND settled = 0`, id)
		return err
	})
}
