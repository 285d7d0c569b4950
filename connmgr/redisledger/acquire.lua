-- KEYS[1] begins all names: h, a hash of holds with their claims; x, when their
-- leases end; c…, who holds a claim, the longest first; e…, a server's inbox.
-- ARGV: the hold, its lease in ms, the length of an inbox; key, limit and
-- "evict" of each claim. Returns 0, or the number of the claim that is full.
local p, hold = KEYS[1], ARGV[1]
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)

local function claims(who)
  local packed, at, list = redis.call('HGET', p .. 'h', who) or '', 1, {}
  while at <= #packed do
    local n = struct.unpack('>I4', packed, at)
    list[#list + 1] = string.sub(packed, at + 4, at + 3 + n)
    at = at + 4 + n
  end
  return list
end

local function remove(who)
  for _, key in ipairs(claims(who)) do redis.call('ZREM', p .. 'c' .. key, who) end
  redis.call('HDEL', p .. 'h', who)
  redis.call('ZREM', p .. 'x', who)
end

-- A dead server's holds go a thousand a call, so that nobody waits for all.
for _, who in ipairs(redis.call('ZRANGEBYSCORE', p .. 'x', '-inf', now, 'LIMIT', 0, 1000)) do remove(who) end

local list, mine = claims(hold), {}
for _, key in ipairs(list) do mine[key] = true end

local victims, chosen = {}, {}
for i = 4, #ARGV, 3 do
  local key, max, evict = p .. 'c' .. ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1'
  if not mine[ARGV[i]] then
    local n = redis.call('ZCARD', key)
    for _, who in ipairs(victims) do
      if redis.call('ZSCORE', key, who) then n = n - 1 end
    end
    if evict and n >= max then
      for _, who in ipairs(redis.call('ZRANGE', key, 0, n - max + #victims + 1)) do
        if n >= max and not chosen[who] and who ~= hold then
          chosen[who] = true
          victims[#victims + 1] = who
          n = n - 1
        end
      end
    end
    if n >= max then return (i - 1) / 3 end
  end
end

for _, who in ipairs(victims) do
  remove(who)
  local n, rest = string.match(who, '^(%d+):(.*)$')
  local inbox, id = p .. 'e' .. string.sub(rest, 1, n), string.sub(rest, n + 1)
  redis.call('RPUSH', inbox, id)
  redis.call('LTRIM', inbox, -ARGV[3], -1)
  redis.call('PEXPIRE', inbox, 60000)
  redis.call('SPUBLISH', inbox, '')
end

for i = 4, #ARGV, 3 do
  if not mine[ARGV[i]] then
    mine[ARGV[i]] = true
    list[#list + 1] = ARGV[i]
    local key = p .. 'c' .. ARGV[i]
    local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
    redis.call('ZADD', key, (last[2] or 0) + 1, hold)
  end
end
local packed = {}
for _, key in ipairs(list) do packed[#packed + 1] = struct.pack('>I4', #key) .. key end
redis.call('HSET', p .. 'h', hold, table.concat(packed))
redis.call('ZADD', p .. 'x', now + ARGV[2], hold)
return 0
