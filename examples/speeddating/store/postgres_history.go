package store

import (
	"context"
	"time"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// History gives a page, newest first, live and archived alike: first which
// entries and how large each is, then the content of those that fit.
func (s *Postgres) History(ctx context.Context, id dating.UserID, before dating.HistoryKey, limit, maxBytes int) (list []dating.HistoryEntry, more bool, err error) {
	list, sizes, err := s.entries(ctx, id, before, limit+1)
	if err != nil {
		return nil, false, err
	}
	fit := fitting(sizes, limit, maxBytes)
	list, more = list[:fit], fit < len(list)
	if fit == 0 {
		return list, false, nil
	}
	rooms := make(map[string]int, fit)
	keys, others := make([]string, fit), make([]dating.UserID, fit)
	for i, h := range list {
		rooms[h.RoomID] = i
		keys[i], others[i] = h.RoomID, h.WithUserID
	}
	const content = `SELECT h.room_id, h.chat, h.socials FROM unnest($2::text[], $3::text[]) p (other_id, room_id)
		JOIN %s h ON h.user_id = $1 AND h.other_id = p.other_id AND h.room_id = p.room_id`
	err = s.rows(ctx, eachHistory(content), []any{id, others, keys}, func(r scanner) error { return scanContent(r, list, rooms) })
	return list, more, err
}

// Recent gives the newest entries without what was said in them.
func (s *Postgres) Recent(ctx context.Context, id dating.UserID, limit int) ([]dating.HistoryEntry, error) {
	list, _, err := s.entries(ctx, id, dating.HistoryKey{}, limit)
	return list, err
}

// entries gives the newest of each of the two tables, merged, and how many
// bytes of chat and handles belong to each. Of those it reads nothing: their
// length is beside them.
func (s *Postgres) entries(ctx context.Context, id dating.UserID, before dating.HistoryKey, limit int) (list []dating.HistoryEntry, sizes []int, err error) {
	end := before.EndedAt
	if end.IsZero() {
		end = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	list = []dating.HistoryEntry{}
	const newest = `(SELECT other_id, room_id, started_at, ended_at, seconds, reason, octet_length(chat) + octet_length(socials) AS size
		FROM %s WHERE user_id = $1 AND (ended_at, room_id) < ($2, $3) ORDER BY ended_at DESC, room_id DESC LIMIT $4)`
	err = s.rows(ctx, `SELECT h.room_id, h.other_id, coalesce(u.name, ''), h.started_at, h.ended_at, h.seconds, h.reason, h.size
		FROM (`+eachHistory(newest)+`) h LEFT JOIN users u ON u.id = h.other_id
		ORDER BY h.ended_at DESC, h.room_id DESC LIMIT $4`,
		[]any{id, end, before.RoomID, limit}, func(r scanner) error {
			h := dating.HistoryEntry{Chat: []dating.ChatLine{}, Socials: []dating.SocialShared{}}
			var size int
			if err := r.Scan(&h.RoomID, &h.WithUserID, &h.WithName, &h.StartedAt, &h.EndedAt, &h.DurationSeconds, &h.Reason, &size); err != nil {
				return err
			}
			h.StartedAt, h.EndedAt = h.StartedAt.UTC(), h.EndedAt.UTC()
			list, sizes = append(list, h), append(sizes, size)
			return nil
		})
	return list, sizes, err
}
