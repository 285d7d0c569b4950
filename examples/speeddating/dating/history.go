package dating

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// HistoryView is a page of a history.
type HistoryView struct {
	Calls  []HistoryEntry `json:"calls"`
	Cursor string         `json:"cursor,omitempty"` // empty at the end
}

// History gives a page, newest first, live and archived alike: up to
// Rules.HistoryPage calls and about Rules.HistoryBytes of what was said in
// them. Invalid: the cursor.
func (p *Platform) History(ctx context.Context, id UserID, cursor string) (HistoryView, error) {
	before, err := parseHistoryKey(cursor)
	if err != nil {
		return HistoryView{}, err
	}
	page, more, err := p.store.History(ctx, id, before, p.rules.HistoryPage, p.rules.HistoryBytes)
	if err != nil {
		return HistoryView{}, unavailable("the database does not answer", err)
	}
	v := HistoryView{Calls: page}
	if more {
		v.Cursor = page[len(page)-1].key().cursor()
	}
	return v, nil
}

func (h HistoryEntry) key() HistoryKey { return HistoryKey{EndedAt: h.EndedAt, RoomID: h.RoomID} }

// cursor is the place as a client carries it: milliseconds and room.
func (k HistoryKey) cursor() string {
	return strconv.FormatInt(k.EndedAt.UnixMilli(), 36) + "_" + k.RoomID
}

func parseHistoryKey(s string) (HistoryKey, error) {
	if s == "" {
		return HistoryKey{}, nil
	}
	ended, room, ok := strings.Cut(s, "_")
	ms, err := strconv.ParseInt(ended, 36, 64)
	if !ok || err != nil || ms <= 0 || len(room) > 64 {
		return HistoryKey{}, refuse(Invalid, "this is no cursor of a history")
	}
	return HistoryKey{EndedAt: time.UnixMilli(ms).UTC(), RoomID: room}, nil
}
