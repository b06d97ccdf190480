-- KEYS: claim
-- ARGV: who claims, for how many milliseconds
-- Claims something for a while, or longer if it has it already. Returns whether it has it, as 1 or 0.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
