package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// held is a claim of an owner here, so that it can be said again when Redis
// has lost it.
type held struct {
	owner string
	until time.Time
}

// errSettling is what a claim gets while the nodes say again what they hold.
var errSettling = errors.New("bus: redis has lost its data; claims begin again in a moment")

// KEYS: epoch, then the keys. ARGV: owner, life in ms, settle in ms, 1 to say
// again what may be said before all is settled.
var claimScript = redis.NewScript(`
local got = redis.call('MGET', unpack(KEYS))
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if not got[1] then return 2 end
if ARGV[4] ~= '1' and now - tonumber(string.match(got[1], ' (%d+)$')) < tonumber(ARGV[3]) then return 2 end
for i = 2, #KEYS do
	if got[i] and got[i] ~= ARGV[1] then return 0 end
end
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2]) end
return 1
`)

// KEYS: the keys. ARGV: owner.
var releaseScript = redis.NewScript(`
local got, mine = redis.call('MGET', unpack(KEYS)), {}
for i = 1, #KEYS do
	if got[i] == ARGV[1] then mine[#mine + 1] = KEYS[i] end
end
if #mine > 0 then redis.call('DEL', unpack(mine)) end
return #mine
`)

// KEYS: epoch. ARGV: epoch's first value.
var epochScript = redis.NewScript(`
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
local t = redis.call('TIME')
redis.call('SET', KEYS[1], run .. ' ' .. (t[1] * 1000 + math.floor(t[2] / 1000)), 'NX')
return redis.call('GET', KEYS[1])
`)

func (r *Redis) claimKeys(keys []string) []string {
	full := make([]string, len(keys))
	for i, k := range keys {
		full[i] = "{" + r.opt.Prefix + "}c:" + k
	}
	return full
}

// Claim takes all keys for owner until ttl is over, or none. While the nodes
// say again what Redis has lost, it waits.
func (r *Redis) Claim(ctx context.Context, owner string, ttl time.Duration, keys ...string) (bool, error) {
	until := time.Now().Add(ttl)
	for {
		n, err := claimScript.Run(ctx, r.opt.Client, append([]string{r.epoch}, r.claimKeys(keys)...),
			owner, max(1, ttl.Milliseconds()), r.opt.Settle.Milliseconds(), 0).Int()
		r.outcome(err)
		switch {
		case err != nil:
			return false, fmt.Errorf("bus: claim: %w", err)
		case n == 0:
			return false, nil
		case n == 1:
			r.hold(owner, until, keys)
			return true, nil
		}
		if epoch, err := epochScript.Run(ctx, r.opt.Client, []string{r.epoch}).Text(); err == nil {
			r.sees(epoch)
		}
		if !sleep(ctx, max(r.opt.Settle/10, time.Millisecond)) {
			return false, errSettling
		}
	}
}

func (r *Redis) hold(owner string, until time.Time, keys []string) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range keys {
		r.claims[k] = held{owner, until}
	}
	if len(r.claims) >= r.sweep {
		for k, c := range r.claims {
			if !now.Before(c.until) {
				delete(r.claims, k)
			}
		}
		r.sweep = max(1024, 2*len(r.claims))
	}
}

// Release gives back those of keys that owner holds.
func (r *Redis) Release(ctx context.Context, owner string, keys ...string) error {
	r.mu.Lock()
	for _, k := range keys {
		if r.claims[k].owner == owner {
			delete(r.claims, k)
		}
	}
	r.mu.Unlock()
	err := releaseScript.Run(ctx, r.opt.Client, r.claimKeys(keys), owner).Err()
	r.outcome(err)
	if err != nil {
		return fmt.Errorf("bus: release: %w", err)
	}
	return nil
}

// Holder gives who holds key, empty if nobody. While the nodes say again what
// Redis has lost, it waits.
func (r *Redis) Holder(ctx context.Context, key string) (string, error) {
	for {
		got, err := r.opt.Client.MGet(ctx, r.epoch, r.claimKeys([]string{key})[0]).Result()
		r.outcome(err)
		if err != nil {
			return "", fmt.Errorf("bus: holder: %w", err)
		}
		epoch, _ := got[0].(string)
		owner, _ := got[1].(string)
		r.mu.Lock()
		settled := owner != "" || r.life == "" || epoch == r.life && time.Since(r.moved) > r.opt.Settle
		r.mu.Unlock()
		if settled {
			return owner, nil
		}
		if epoch != "" {
			r.sees(epoch)
		}
		if !sleep(ctx, max(r.opt.Settle/10, time.Millisecond)) {
			return "", errSettling
		}
	}
}

// reclaim says again what owners here hold.
func (r *Redis) reclaim() error {
	now := time.Now()
	type claim struct {
		key   string
		owner string
		ttl   time.Duration
	}
	var all []claim
	r.mu.Lock()
	for k, c := range r.claims {
		if ttl := c.until.Sub(now); ttl > 0 {
			all = append(all, claim{k, c.owner, ttl})
		}
	}
	r.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for len(all) > 0 {
		some := all[:min(len(all), 256)]
		all = all[len(some):]
		pipe := r.opt.Client.Pipeline()
		for _, c := range some {
			claimScript.Eval(ctx, pipe, append([]string{r.epoch}, r.claimKeys([]string{c.key})...),
				c.owner, c.ttl.Milliseconds(), 0, 1)
		}
		_, err := pipe.Exec(ctx)
		r.outcome(err)
		if err != nil {
			return fmt.Errorf("bus: claim again: %w", err)
		}
	}
	return nil
}
