-- KEYS: what remembers the publisher's last call; the stream of each message.
-- ARGV: the number of this call, how many messages a stream keeps, and for how
-- long in ms; then of each message the epoch that the publisher thinks its
-- stream has or "", "1" to prolong the stream's life, and the message itself.
-- Returns the ids, separated by spaces.
local number, most, retain = tonumber(ARGV[1]), ARGV[2], ARGV[3]

-- A call that is sent again is answered again, and made once. One that was
-- overtaken by a later one has been given up.
local last = redis.call('GET', KEYS[1])
if last then
  local n, ids = string.match(last, '^(%d+) (.*)$')
  if tonumber(n) == number then return ids end
  if tonumber(n) > number then return redis.error_reply('OVERTAKEN by a later call') end
end

local ids = {}
for i = 2, #KEYS do
  local name, at = KEYS[i], 3 * i - 2
  local epoch, touch, data = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local id
  if epoch ~= '' then
    id = redis.pcall('XADD', name, 'MAXLEN', '~', most, epoch .. '-*', 'd', data)
    if type(id) ~= 'string' then -- a later epoch
      id = nil
    elseif string.sub(id, -2) == '-0' then -- offsets begin at 1: the stream was lost
      redis.call('DEL', name)
      id = nil
    end
  end
  if not id then
    local top = redis.call('XREVRANGE', name, '+', '-', 'COUNT', 1)[1]
    if top then
      id = redis.call('XADD', name, 'MAXLEN', '~', most, string.match(top[1], '^%d+') .. '-*', 'd', data)
    else
      local t = redis.call('TIME')
      id = redis.call('XADD', name, t[1] .. string.format('%06d', t[2]) .. '-1', 'd', data)
      touch = '1'
    end
  end
  if touch == '1' then redis.call('PEXPIRE', name, retain) end
  redis.call('SPUBLISH', name, id .. ' ' .. data)
  ids[#ids + 1] = id
end
local answer = table.concat(ids, ' ')
redis.call('SET', KEYS[1], number .. ' ' .. answer, 'PX', 60000)
return answer
