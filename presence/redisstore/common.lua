-- Time is Redis' own, in ms.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function num(n) return string.format('%.0f', n) end

-- Lists of strings, each with its length before it.
local function pack(list)
  local out = {}
  for i, s in ipairs(list) do out[i] = struct.pack('>I4', #s) .. s end
  return table.concat(out)
end

local function unpacked(s)
  local out, at = {}, 1
  while at <= #s do
    local n = struct.unpack('>I4', s, at)
    out[#out + 1] = string.sub(s, at + 4, at + 3 + n)
    at = at + 4 + n
  end
  return out
end

local function alive(leases, incarnation)
  local ends = redis.call('ZSCORE', leases, incarnation)
  return ends and tonumber(ends) > now
end

-- Every epoch carries the generation, which changes when another Redis answers:
-- its data may be older.
local function generation(key) return redis.call('HGET', key, 'gen') or '' end

-- At every renewal: a server's keys are forgotten an hour after the last one.
local function renewed(leases, gen, lease)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  if redis.call('HGET', gen, 'run') ~= run then
    redis.call('HSET', gen, 'run', run, 'gen', time[1] .. string.format('%06d', time[2]))
  end
  redis.call('PEXPIRE', leases, lease + 3600000)
  redis.call('PEXPIRE', gen, lease + 3600000)
end

-- Where a log is.
local function top(log)
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  if not last then return nil end
  local epoch, offset = string.match(last[1], '^(%d+)-(%d+)$')
  return epoch, tonumber(offset)
end
