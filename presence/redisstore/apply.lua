-- KEYS: leases, generation, topics with members; then members and log of each
-- topic. ARGV: the incarnation, length and life of a log; then of each change
-- its kind, the number of its topic, the topic, user, metadata, tag, and seen,
-- as epoch and offset. Returns 0 if the lease is lost, else 1.
if not alive(KEYS[1], ARGV[1]) then return 0 end
local self, most, gen = ARGV[1], ARGV[2], generation(KEYS[2])
for i = 4, #ARGV, 8 do
  local kind, k, user = ARGV[i], 2 * ARGV[i + 1] + 4, ARGV[i + 3]
  local t = open(KEYS[k], KEYS[k + 1], ARGV[i + 2])
  local list = said(t, user)
  if kind == PUT then
    list = without(list, function(by) return by == self end)
    for _, v in ipairs({self, num(t.offset + 1), ARGV[i + 5], ARGV[i + 4]}) do list[#list + 1] = v end
    say(t, user, list)
    event(t, most, PUT, user, self, ARGV[i + 4], ARGV[i + 5], 0)
  else
    local seen = 0
    if kind == LEAVE and ARGV[i + 6] == gen .. '.' .. t.epoch then seen = tonumber(ARGV[i + 7]) end
    local rest = without(list, function(by, at) return by == self or kind == LEAVE and at <= seen end)
    if #rest < #list then
      say(t, user, rest)
      event(t, most, kind, user, self, '', '', seen)
    end
  end
end
publish(gen, KEYS[3], ARGV[3])
return 1
