package redislink

import (
	"crypto/rand"
	"strconv"
)

func randomName() string { return rand.Text()[:16] }

// returned notes that a probe has come back.
func (n *line) returned(payload string) {
	number, err := strconv.ParseUint(payload, 10, 64)
	if err != nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.heard = max(n.heard, number)
}
