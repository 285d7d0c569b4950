package redisstore

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// All keys that a script uses are named to it, so that a Cluster refuses it, and
// it is tried again, while only some of them have been moved.
var (
	//go:embed common.lua
	common string
	//go:embed change.lua
	change string
	//go:embed apply.lua
	apply string
	//go:embed reap.lua
	reap string

	applyScript = redis.NewScript(common + change + apply)
	reapScript  = redis.NewScript(common + change + reap)

	// KEYS: leases, generation. ARGV: the incarnation, its lease in ms. An
	// incarnation is named token:node; who was it before is fenced.
	openScript = redis.NewScript(common + `
local node = string.match(ARGV[1], ':.*$')
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. num(now), '+inf')) do
  if string.match(name, ':.*$') == node then redis.call('ZADD', KEYS[1], num(now), name) end
end
redis.call('ZADD', KEYS[1], num(now + ARGV[2]), ARGV[1])
renewed(KEYS[1], KEYS[2], ARGV[2])
return 1`)

	renewScript = redis.NewScript(common + `
if not alive(KEYS[1], ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], num(now + ARGV[2]), ARGV[1])
renewed(KEYS[1], KEYS[2], ARGV[2])
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. num(now), '+inf')`)

	// KEYS: leases, generation, topics with members. Who leaves last, and leaves
	// nobody, leaves nothing.
	closeScript = redis.NewScript(common + `
if alive(KEYS[1], ARGV[1]) then redis.call('ZADD', KEYS[1], num(now), ARGV[1]) end
if redis.call('ZCOUNT', KEYS[1], '(' .. num(now), '+inf') == 0 and redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('DEL', KEYS[1], KEYS[2])
end
return 1`)

	// KEYS: leases. ARGV: an age in ms. Who is dead for that long.
	deadScript = redis.NewScript(common + `
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', num(now - ARGV[1]))`)

	// KEYS: generation, then log and members. ARGV: where the reader is.
	// Returns whether all follows, epoch, offset, and what follows.
	readScript = redis.NewScript(common + `
local epoch, offset = top(KEYS[2])
if not epoch then return {1, '', '0', redis.call('HGETALL', KEYS[3])} end
local whole, from = generation(KEYS[1]) .. '.' .. epoch, tonumber(ARGV[2])
if ARGV[1] == whole and from <= offset then
  local list = redis.call('XRANGE', KEYS[2], '(' .. epoch .. '-' .. ARGV[2], '+')
  if #list == offset - from then
    local out = {}
    for i, e in ipairs(list) do out[i] = e[2][2] end
    return {0, whole, num(offset), out}
  end
end
return {1, whole, num(offset), redis.call('HGETALL', KEYS[3])}`)

	// KEYS: generation, then logs.
	positionsScript = redis.NewScript(common + `
local out, gen = {}, generation(KEYS[1])
for i = 2, #KEYS do
  local epoch, offset = top(KEYS[i])
  out[#out + 1] = epoch and gen .. '.' .. epoch or ''
  out[#out + 1] = epoch and num(offset) or '0'
end
return out`)
)
