-- KEYS: leases, generation, topics with members, members and log of one topic.
-- ARGV: an age in ms, length and life of a log, the topic. Removes what is said
-- by who is dead for that long, or not known at all, and returns how much.
local keep, n = {}, 0
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. num(now - ARGV[1]), '+inf')) do keep[name] = true end
local t = open(KEYS[4], KEYS[5], ARGV[4])
local all = redis.call('HGETALL', KEYS[4])
for i = 1, #all, 2 do
  local list, dead = unpacked(all[i + 1]), {}
  local rest = without(list, function(by)
    if not keep[by] then dead[#dead + 1] = by end
    return not keep[by]
  end)
  if #dead > 0 then
    say(t, all[i], rest)
    for _, by in ipairs(dead) do event(t, ARGV[2], DROP, all[i], by, '', '', 0) end
    n = n + #dead
  end
end
if redis.call('EXISTS', KEYS[4]) == 0 then redis.call('SREM', KEYS[3], ARGV[4]) end
publish(generation(KEYS[2]), KEYS[3], ARGV[3])
return n
