-- KEYS: hosts
-- Returns the hosts whose leases have not ended, and what each says of itself, alternating.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reply = {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local ends, says = string.match(all[i + 1], '^(%d+) (.*)$')
  if ends and tonumber(ends) > now then
    reply[#reply + 1] = all[i]
    reply[#reply + 1] = says
  end
end
return reply
