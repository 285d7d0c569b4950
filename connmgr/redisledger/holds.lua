-- All holds are in one sorted set, KEYS[1], whose members are ordered by their
-- bytes, so that each script is about one key and a Cluster moves all or nothing:
--   h, hold, when its lease ends, its claims   a hold
--   x, when its lease ends, hold               who is to be forgotten first
--   c, claim, number, hold                     who has it, the longest first
-- Names have their length before them, numbers sixteen digits. Time is Redis'
-- own, in ms.
local holds = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function digits(n) return string.format('%016.0f', n) end
local function named(s) return struct.pack('>I4', #s) .. s end

local function under(prefix, n)
  return redis.call('ZRANGEBYLEX', holds, '[' .. prefix, '[' .. prefix .. '\255', 'LIMIT', 0, n)
end

-- A hold's numbers, by its claims.
local function find(hold)
  local prefix = 'h' .. named(hold)
  local m = under(prefix, 1)[1]
  if not m then return nil end
  local h, at = {member = m, ends = string.sub(m, #prefix + 1, #prefix + 16), claims = {}}, #prefix + 17
  while at <= #m do
    local n = struct.unpack('>I4', m, at)
    h.claims[string.sub(m, at + 4, at + 3 + n)] = string.sub(m, at + 4 + n, at + 19 + n)
    at = at + 20 + n
  end
  return h
end

local function forget(hold, h)
  redis.call('ZREM', holds, h.member, 'x' .. h.ends .. hold)
end

local function add(list, ...)
  for _, v in ipairs({...}) do list[#list + 1] = v end
end

-- What ZADD needs for a hold is added to list.
local function entry(list, hold, claims, ends)
  local parts = {'h', named(hold), digits(ends)}
  for key, number in pairs(claims) do
    parts[#parts + 1] = named(key)
    parts[#parts + 1] = number
  end
  add(list, 0, table.concat(parts), 0, 'x' .. digits(ends) .. hold)
end

local function remove(hold, h)
  forget(hold, h)
  for key, number in pairs(h.claims) do redis.call('ZREM', holds, 'c' .. named(key) .. number .. hold) end
end
