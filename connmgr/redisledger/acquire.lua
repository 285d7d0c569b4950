-- KEYS: holds, evictions. ARGV: the hold, its lease in ms, how many evictions
-- are kept, what begins the channels that wake servers; then key, limit and
-- "evict" of each claim. Returns 0, or the number of the claim that is full.
local hold = ARGV[1]

-- A dead server's holds go a thousand a call, so that nobody waits for all.
for _, m in ipairs(redis.call('ZRANGEBYLEX', holds, '[x', '[x' .. digits(now + 1), 'LIMIT', 0, 1000)) do
  local who = string.sub(m, 18)
  remove(who, find(who))
end

local mine = find(hold)
local claims = mine and mine.claims or {}
local victims, order = {}, {}
for i = 5, #ARGV, 3 do
  local key, max, evict = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2] == '1'
  if not claims[key] then
    local prefix = 'c' .. named(key)
    local n = redis.call('ZLEXCOUNT', holds, '[' .. prefix, '[' .. prefix .. '\255')
    for _, h in pairs(victims) do
      if h.claims[key] then n = n - 1 end
    end
    if evict and n >= max then
      for _, m in ipairs(under(prefix, n - max + #order + 1)) do
        local who = string.sub(m, #prefix + 17)
        if n >= max and not victims[who] and who ~= hold then
          victims[who] = find(who)
          order[#order + 1] = who
          n = n - 1
        end
      end
    end
    if n >= max then return (i - 2) / 3 end
  end
end

for i, who in ipairs(order) do
  remove(who, victims[who])
  redis.call('ZADD', KEYS[2], string.format('%.0f', time[1] * 1000000 + time[2] + i), who)
  local n = struct.unpack('>I4', who)
  redis.call('SPUBLISH', ARGV[4] .. string.sub(who, 5, 4 + n), '')
end
if #order > 0 then
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[3])
  redis.call('PEXPIRE', KEYS[2], 60000)
end

for i = 5, #ARGV, 3 do
  local key = ARGV[i]
  if not claims[key] then
    local prefix = 'c' .. named(key)
    local last = redis.call('ZREVRANGEBYLEX', holds, '[' .. prefix .. '\255', '[' .. prefix, 'LIMIT', 0, 1)[1]
    claims[key] = digits(last and string.sub(last, #prefix + 1, #prefix + 16) + 1 or 1)
    redis.call('ZADD', holds, 0, prefix .. claims[key] .. hold)
  end
end
if mine then forget(hold, mine) end
local new = {}
entry(new, hold, claims, now + ARGV[2])
redis.call('ZADD', holds, unpack(new))
return 0
