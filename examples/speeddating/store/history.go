package store

import (
	"fmt"

	"github.com/plimsoll-go/plimsoll/examples/speeddating/dating"
)

// fitting gives how many entries of these sizes make a page: at least one.
func fitting(sizes []int, limit, maxBytes int) (n int) {
	total := 0
	for n < min(len(sizes), limit) && (n == 0 || total+sizes[n] <= maxBytes) {
		total += sizes[n]
		n++
	}
	return n
}

// scanContent puts what was said in a call into the entry of its room.
func scanContent(r scanner, list []dating.HistoryEntry, rooms map[string]int) error {
	var room, chat, socials string
	if err := r.Scan(&room, &chat, &socials); err != nil {
		return err
	}
	h := &list[rooms[room]]
	if err := decode(chat, &h.Chat); err != nil {
		return err
	}
	return decode(socials, &h.Socials)
}

// eachHistory puts the live table and the archive into a query.
func eachHistory(query string) string {
	return fmt.Sprintf(query, "histories") + " UNION ALL " + fmt.Sprintf(query, "history_archive")
}
