package store

import (
	"context"
	"math"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// History gives a page, newest first, live and archived alike: first which
// entries and how large each is, then the content of those that fit.
func (s *SQLite) History(ctx context.Context, id dating.UserID, before dating.HistoryKey, limit, maxBytes int) (list []dating.HistoryEntry, more bool, err error) {
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
	for i, h := range list {
		rooms[h.RoomID] = i
	}
	keys, err := encode(list, "[]")
	if err != nil {
		return nil, false, err
	}
	const content = `SELECT h.room_id, h.chat, h.socials FROM json_each(?2) j CROSS JOIN %s h
		ON h.user_id = ?1 AND h.other_id = j.value ->> 'withUserId' AND h.room_id = j.value ->> 'roomId'`
	err = s.rows(ctx, eachHistory(content), []any{id, keys}, func(r scanner) error { return scanContent(r, list, rooms) })
	return list, more, err
}

// Recent gives the newest entries without what was said in them.
func (s *SQLite) Recent(ctx context.Context, id dating.UserID, limit int) ([]dating.HistoryEntry, error) {
	list, _, err := s.entries(ctx, id, dating.HistoryKey{}, limit)
	return list, err
}

// entries gives the newest of each of the two tables, merged, and how many
// bytes of chat and handles belong to each. Of those it reads nothing.
func (s *SQLite) entries(ctx context.Context, id dating.UserID, before dating.HistoryKey, limit int) (list []dating.HistoryEntry, sizes []int, err error) {
	end := int64(math.MaxInt64)
	if !before.EndedAt.IsZero() {
		end = ms(before.EndedAt)
	}
	list = []dating.HistoryEntry{}
	const newest = `SELECT * FROM (SELECT other_id, room_id, started_at, ended_at, seconds, reason, octet_length(chat) + octet_length(socials) AS size
		FROM %s WHERE user_id = ?1 AND (ended_at, room_id) < (?2, ?3) ORDER BY ended_at DESC, room_id DESC LIMIT ?4)`
	err = s.rows(ctx, `SELECT h.room_id, h.other_id, coalesce(u.name, ''), h.started_at, h.ended_at, h.seconds, h.reason, h.size
		FROM (`+eachHistory(newest)+`) h LEFT JOIN users u ON u.id = h.other_id
		ORDER BY h.ended_at DESC, h.room_id DESC LIMIT ?4`,
		[]any{id, end, before.RoomID, limit}, func(r scanner) error {
			h := dating.HistoryEntry{Chat: []dating.ChatLine{}, Socials: []dating.SocialShared{}}
			var started, ended int64
			var size int
			if err := r.Scan(&h.RoomID, &h.WithUserID, &h.WithName, &started, &ended, &h.DurationSeconds, &h.Reason, &size); err != nil {
				return err
			}
			h.StartedAt, h.EndedAt = at(started), at(ended)
			list, sizes = append(list, h), append(sizes, size)
			return nil
		})
	return list, sizes, err
}
