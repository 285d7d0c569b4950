package store

import (
	"context"
	"strings"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

func scanPGUser(r scanner) (u dating.User, err error) {
	var socials string
	if err := r.Scan(&u.ID, &u.Name, &u.Gender, &u.SelfieID, &socials, &u.Email, &u.Standing, &u.TalkSeconds, &u.Calls, &u.CreatedAt); err != nil {
		return u, err
	}
	u.CreatedAt = u.CreatedAt.UTC()
	return u, decode(socials, &u.Socials)
}

// CreateGuest adds a person, their session and who introduced them: one
// statement.
func (s *Postgres) CreateGuest(ctx context.Context, u dating.User, se dating.Session, intros []dating.Introduction) error {
	socials, err := encode(u.Socials, "{}")
	if err != nil {
		return err
	}
	var me, other []dating.UserID
	var by []string
	for _, in := range intros {
		me, other, by = append(me, in.User, in.Other), append(other, in.Other, in.User), append(by, in.By, in.By)
	}
	n, err := s.exec(ctx, `WITH u AS (
			INSERT INTO users (id, name, gender, socials, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING id),
		met AS (
			INSERT INTO introductions (user_id, other_id, by_name) SELECT i.me, i.other, i.by FROM u, unnest($6::text[], $7::text[], $8::text[]) i (me, other, by)
			ORDER BY i.me, i.other ON CONFLICT DO NOTHING)
		INSERT INTO sessions (hash, user_id, expires_at) SELECT $9, u.id, $10 FROM u`,
		u.ID, u.Name, u.Gender, socials, u.CreatedAt, me, other, by, se.Hash[:], se.ExpiresAt)
	return changed(n, err, dating.ErrConflict)
}

// Users gives those of ids that exist.
func (s *Postgres) Users(ctx context.Context, ids []dating.UserID) (map[dating.UserID]dating.User, error) {
	if len(ids) != 1 {
		return s.usersOf(ctx, ids)
	}
	u, ok, err := s.users.get(ctx, ids[0])
	if err != nil || !ok {
		return nil, err
	}
	return map[dating.UserID]dating.User{u.ID: u}, nil
}

func (s *Postgres) usersOf(ctx context.Context, ids []dating.UserID) (map[dating.UserID]dating.User, error) {
	users := make(map[dating.UserID]dating.User, len(ids))
	err := s.rows(ctx, `SELECT `+userColumns+` FROM users WHERE id = ANY($1)`, []any{ids}, func(r scanner) error {
		u, err := scanPGUser(r)
		users[u.ID] = u
		return err
	})
	return users, err
}

// UpdateProfile changes what a person says about themselves.
func (s *Postgres) UpdateProfile(ctx context.Context, id dating.UserID, name, gender string, socials dating.Socials) error {
	text, err := encode(socials, "{}")
	if err != nil {
		return err
	}
	n, err := s.exec(ctx, `UPDATE users SET name = $2, gender = $3, socials = $4 WHERE id = $1`, id, name, gender, text)
	return changed(n, err, dating.ErrNotFound)
}

// SetSelfie stores m as the picture of id in the place of the one before: one
// statement.
func (s *Postgres) SetSelfie(ctx context.Context, id dating.UserID, m dating.Media) error {
	n, err := s.exec(ctx, `WITH u AS (UPDATE users SET selfie_id = $2 WHERE id = $1 RETURNING id)
		INSERT INTO media (id, user_id, type, bytes) SELECT $2, u.id, $3, $4 FROM u
		ON CONFLICT (user_id) DO UPDATE SET id = excluded.id, type = excluded.type, bytes = excluded.bytes`, id, m.ID, m.Type, m.Bytes)
	return changed(n, err, dating.ErrNotFound)
}

// Media gives a picture.
func (s *Postgres) Media(ctx context.Context, id string) (dating.Media, error) {
	m := dating.Media{ID: id}
	err := s.row(ctx, `SELECT type, bytes FROM media WHERE id = $1`, []any{id}, &m.Type, &m.Bytes)
	return m, err
}

// LinkAccount makes a guest an account and gives it a new session for its old.
// The row of the user orders it with a login, which would end both.
func (s *Postgres) LinkAccount(ctx context.Context, old dating.TokenHash, se dating.Session, email string, password []byte) error {
	err := s.do(ctx, func(t *pgTx) error {
		if err := t.lockUser(se.User); err != nil {
			return err
		}
		n, err := t.exec(`DELETE FROM sessions WHERE hash = $1 AND user_id = $2`, old[:], se.User)
		if err := changed(n, err, dating.ErrNotFound); err != nil {
			return err
		}
		n, err = t.exec(`UPDATE users SET email = $2, password = $3 WHERE id = $1 AND email IS NULL`, se.User, strings.ToLower(email), password)
		if violates(err, "users_email_key") {
			return dating.ErrConflict
		}
		if err := changed(n, err, dating.ErrConflict); err != nil {
			return err
		}
		return t.addSession(se)
	})
	return err
}

// Credentials gives who has this address, and the hash of the password.
func (s *Postgres) Credentials(ctx context.Context, email string) (id dating.UserID, password []byte, err error) {
	err = s.row(ctx, `SELECT id, password FROM users WHERE email = $1`, []any{strings.ToLower(email)}, &id, &password)
	return id, password, err
}

// lockUser makes transactions about one person take turns. Others may refer to
// the person meanwhile. dating.ErrNotFound.
func (t *pgTx) lockUser(id dating.UserID) error {
	n, err := t.exec(`SELECT FROM users WHERE id = $1 FOR NO KEY UPDATE`, id)
	return changed(n, err, dating.ErrNotFound)
}

func (t *pgTx) addSession(se dating.Session) error {
	_, err := t.exec(`INSERT INTO sessions (hash, user_id, expires_at) VALUES ($1, $2, $3)`, se.Hash[:], se.User, se.ExpiresAt)
	return err
}

// Session gives a session, also one that is over.
func (s *Postgres) Session(ctx context.Context, hash dating.TokenHash) (dating.Session, error) {
	se, ok, err := s.sessions.get(ctx, hash)
	if err == nil && !ok {
		err = dating.ErrNotFound
	}
	return se, err
}

func (s *Postgres) sessionsOf(ctx context.Context, hashes []dating.TokenHash) (map[dating.TokenHash]dating.Session, error) {
	list := make([][]byte, len(hashes))
	for i := range hashes {
		list[i] = hashes[i][:]
	}
	sessions := make(map[dating.TokenHash]dating.Session, len(hashes))
	err := s.rows(ctx, `SELECT hash, user_id, expires_at FROM sessions WHERE hash = ANY($1)`, []any{list}, func(r scanner) error {
		var hash []byte
		var se dating.Session
		if err := r.Scan(&hash, &se.User, &se.ExpiresAt); err != nil {
			return err
		}
		se.Hash, se.ExpiresAt = dating.TokenHash(hash), se.ExpiresAt.UTC()
		sessions[se.Hash] = se
		return nil
	})
	return sessions, err
}

// ReplaceSessions ends every session of se.User and adds se. Of logins at once
// the last one's session is left.
func (s *Postgres) ReplaceSessions(ctx context.Context, se dating.Session) (ended []dating.TokenHash, err error) {
	err = s.do(ctx, func(t *pgTx) error {
		ended = nil
		if err := t.lockUser(se.User); err != nil {
			return err
		}
		err := t.rows(`DELETE FROM sessions WHERE user_id = $1 RETURNING hash`, []any{se.User}, func(r scanner) error {
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
func (s *Postgres) EndSession(ctx context.Context, hash dating.TokenHash) error {
	_, err := s.exec(ctx, `DELETE FROM sessions WHERE hash = $1`, hash[:])
	return err
}
