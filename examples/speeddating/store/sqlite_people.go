package store

import (
	"context"
	"strings"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

const userColumns = `id, name, gender, selfie_id, socials, coalesce(email, ''), standing, talk_seconds, calls, created_at`

func scanUser(r scanner) (u dating.User, err error) {
	var socials string
	var created int64
	if err := r.Scan(&u.ID, &u.Name, &u.Gender, &u.SelfieID, &socials, &u.Email, &u.Standing, &u.TalkSeconds, &u.Calls, &created); err != nil {
		return u, err
	}
	u.CreatedAt = at(created)
	return u, decode(socials, &u.Socials)
}

// CreateGuest adds a person, their session and who introduced them.
func (s *SQLite) CreateGuest(ctx context.Context, u dating.User, se dating.Session, intros []dating.Introduction) error {
	socials, err := encode(u.Socials, "{}")
	if err != nil {
		return err
	}
	return s.do(ctx, func(t *tx) error {
		n, err := t.exec(`INSERT INTO users (id, name, gender, socials, created_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			u.ID, u.Name, u.Gender, socials, ms(u.CreatedAt))
		if err := changed(n, err, dating.ErrConflict); err != nil {
			return err
		}
		for _, in := range intros {
			_, err := t.exec(`INSERT INTO introductions (user_id, other_id, by_name) VALUES (?1, ?2, ?3), (?2, ?1, ?3) ON CONFLICT DO NOTHING`,
				in.User, in.Other, in.By)
			if err != nil {
				return err
			}
		}
		return t.addSession(se)
	})
}

// Users gives those of ids that exist.
func (s *SQLite) Users(ctx context.Context, ids []dating.UserID) (map[dating.UserID]dating.User, error) {
	list, err := encode(ids, "[]")
	if err != nil {
		return nil, err
	}
	users := make(map[dating.UserID]dating.User, len(ids))
	err = s.rows(ctx, `SELECT `+userColumns+` FROM users WHERE id IN (SELECT value FROM json_each(?))`, []any{list}, func(r scanner) error {
		u, err := scanUser(r)
		users[u.ID] = u
		return err
	})
	return users, err
}

// UpdateProfile changes what a person says about themselves.
func (s *SQLite) UpdateProfile(ctx context.Context, id dating.UserID, name, gender string, socials dating.Socials) error {
	text, err := encode(socials, "{}")
	if err != nil {
		return err
	}
	return s.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE users SET name = ?, gender = ?, socials = ? WHERE id = ?`, name, gender, text, id)
		return changed(n, err, dating.ErrNotFound)
	})
}

// SetSelfie stores m as the picture of id in the place of the one before.
func (s *SQLite) SetSelfie(ctx context.Context, id dating.UserID, m dating.Media) error {
	return s.do(ctx, func(t *tx) error {
		n, err := t.exec(`UPDATE users SET selfie_id = ? WHERE id = ?`, m.ID, id)
		if err := changed(n, err, dating.ErrNotFound); err != nil {
			return err
		}
		_, err = t.exec(`INSERT INTO media (id, user_id, type, bytes) VALUES (?, ?, ?, ?)
			ON CONFLICT (user_id) DO UPDATE SET id = excluded.id, type = excluded.type, bytes = excluded.bytes`, m.ID, id, m.Type, m.Bytes)
		return err
	})
}

// Media gives a picture.
func (s *SQLite) Media(ctx context.Context, id string) (dating.Media, error) {
	m := dating.Media{ID: id}
	err := s.row(ctx, `SELECT type, bytes FROM media WHERE id = ?`, []any{id}, &m.Type, &m.Bytes)
	return m, err
}

// LinkAccount makes a guest an account and gives it a new session for its old.
func (s *SQLite) LinkAccount(ctx context.Context, old dating.TokenHash, se dating.Session, email string, password []byte) error {
	return s.do(ctx, func(t *tx) error {
		n, err := t.exec(`DELETE FROM sessions WHERE hash = ? AND user_id = ?`, old[:], se.User)
		if err := changed(n, err, dating.ErrNotFound); err != nil {
			return err
		}
		n, err = t.exec(`UPDATE OR IGNORE users SET email = ?, password = ? WHERE id = ? AND email IS NULL`, strings.ToLower(email), password, se.User)
		if err := changed(n, err, dating.ErrConflict); err != nil {
			return err
		}
		return t.addSession(se)
	})
}

// Credentials gives who has this address, and the hash of the password.
func (s *SQLite) Credentials(ctx context.Context, email string) (id dating.UserID, password []byte, err error) {
	err = s.row(ctx, `SELECT id, password FROM users WHERE email = ?`, []any{strings.ToLower(email)}, &id, &password)
	return id, password, err
}

func (t *tx) addSession(se dating.Session) error {
	_, err := t.exec(`INSERT INTO sessions (hash, user_id, expires_at) VALUES (?, ?, ?)`, se.Hash[:], se.User, ms(se.ExpiresAt))
	return err
}

// Session gives a session, also one that is over.
func (s *SQLite) Session(ctx context.Context, hash dating.TokenHash) (dating.Session, error) {
	se := dating.Session{Hash: hash}
	var expires int64
	err := s.row(ctx, `SELECT user_id, expires_at FROM sessions WHERE hash = ?`, []any{hash[:]}, &se.User, &expires)
	se.ExpiresAt = at(expires)
	return se, err
}

// ReplaceSessions ends every session of se.User and adds se.
func (s *SQLite) ReplaceSessions(ctx context.Context, se dating.Session) (ended []dating.TokenHash, err error) {
	err = s.do(ctx, func(t *tx) error {
		ended = nil
		err := t.rows(`DELETE FROM sessions WHERE user_id = ? RETURNING hash`, []any{se.User}, func(r scanner) error {
			var b []byte
			if err := r.Scan(&b); err != nil {
				return err
			}
			ended = append(ended, dating.TokenHash(b))
			return nil
		})
		if err != nil {
			return err
		}
		return t.addSession(se)
	})
	return ended, err
}

// EndSession ends one session; that it is there no more is no fault.
func (s *SQLite) EndSession(ctx context.Context, hash dating.TokenHash) error {
	return s.do(ctx, func(t *tx) error {
		_, err := t.exec(`DELETE FROM sessions WHERE hash = ?`, hash[:])
		return err
	})
}
