-- KEYS: hosts
-- ARGV: which host, for how many milliseconds, what it says of itself
-- Renews a host's lease, or ends it if the time is 0. Drops those that have ended.
local wrong = mistyped({ 'hash' })
if wrong then
  return wrong
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local ends = tonumber(string.match(all[i + 1], '^%d+'))
  if not ends or ends <= now then
    redis.call('HDEL', KEYS[1], all[i])
  end
end
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now + ARGV[2]) .. ARGV[3])
end
return 1
