package redisbus

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

const compared = 100 // topics in one call

// tops returns the last id of each stream, and has them live on.
var tops = redis.NewScript(`
local ids = {}
for i, name in ipairs(KEYS) do
  redis.call('PEXPIRE', name, ARGV[1])
  local top = redis.call('XREVRANGE', name, '+', '-', 'COUNT', 1)[1]
  ids[i] = top and top[1] or ''
end
return ids`)

// compare has each topic that is subscribed to live on, and notices when a
// subscription is behind, four times in Retain.
func (b *Bus) compare() {
	tick := time.NewTicker(b.opt.Retain / 4)
	defer tick.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
		}
		parts := make(map[int][]*topic)
		b.mu.Lock()
		for _, t := range b.topics {
			parts[t.part] = append(parts[t.part], t)
		}
		b.mu.Unlock()
		for part, topics := range parts {
			for len(topics) > 0 && b.ctx.Err() == nil {
				n := min(len(topics), compared)
				b.compareSome(part, topics[:n])
				topics = topics[n:]
			}
		}
	}
}

func (b *Bus) compareSome(part int, topics []*topic) {
	ctx, cancel := context.WithTimeout(b.ctx, attempt)
	defer cancel()
	keys := make([]string, len(topics))
	for i, t := range topics {
		keys[i] = b.stream(t.name, part)
	}
	ids, err := tops.Run(ctx, b.client, keys, b.opt.Retain.Milliseconds()).StringSlice()
	if err != nil || len(ids) != len(topics) {
		b.readErrors.Add(1)
		return
	}
	for i, t := range topics {
		pos, _ := position(ids[i]) // zero if there is none
		b.mu.Lock()
		var behind []*subscription
		for s := range t.subs {
			if s.Position() != pos {
				behind = append(behind, s)
			}
		}
		b.mu.Unlock()
		for _, s := range behind {
			if s.take() {
				b.repair(s)
			}
		}
	}
}
