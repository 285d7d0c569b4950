-- Changes to topics, of which open is told the names of members and log.
-- What a user's incarnations say of him is packed as incarnation, offset, tag,
-- metadata, again and again; an event as kind, user, incarnation, metadata, tag,
-- seen.
local PUT, DROP, LEAVE = '1', '2', '3'
local topics = {}

local function open(members, log, name)
  local t = topics[log]
  if not t then
    t = {members = members, log = log, name = name, events = {}}
    t.epoch, t.offset = top(log)
    if not t.epoch then t.epoch, t.offset = time[1] .. string.format('%06d', time[2]), 0 end
    t.first = t.offset + 1
    t.was = redis.call('EXISTS', members) == 1
    topics[log] = t
  end
  return t
end

local function event(t, most, kind, user, incarnation, meta, tag, seen)
  t.offset = t.offset + 1
  local e = pack({kind, user, incarnation, meta, tag, num(seen)})
  redis.call('XADD', t.log, 'MAXLEN', '~', most, t.epoch .. '-' .. num(t.offset), 'd', e)
  t.events[#t.events + 1] = e
end

local function said(t, user) return unpacked(redis.call('HGET', t.members, user) or '') end

local function say(t, user, list)
  if #list == 0 then redis.call('HDEL', t.members, user) else redis.call('HSET', t.members, user, pack(list)) end
end

-- without returns list less the entries that gone chooses by incarnation and
-- offset.
local function without(list, gone)
  local out = {}
  for i = 1, #list, 4 do
    if not gone(list[i], tonumber(list[i + 1])) then
      for j = i, i + 3 do out[#out + 1] = list[j] end
    end
  end
  return out
end

-- publish tells what was changed, once a topic. A topic without members is
-- forgotten in a while.
local function publish(gen, index, retain)
  for log, t in pairs(topics) do
    if #t.events > 0 then
      redis.call('SPUBLISH', log, pack({gen .. '.' .. t.epoch, num(t.first), pack(t.events)}))
      if redis.call('EXISTS', t.members) == 0 then
        redis.call('PEXPIRE', log, retain)
        if t.was then redis.call('SREM', index, t.name) end
      elseif not t.was then
        redis.call('SADD', index, t.name)
        redis.call('PERSIST', log)
      end
    end
  end
end
