-- KEYS: registry
-- Raises the revision of a tenant's registry, and returns it. It is the time in microseconds, or one
-- more than the last: a revision that was in force once never is again, also where Redis was set
-- back to an earlier state or the tenant began anew.
local wrong = mistyped({ 'number' })
if wrong then
  return wrong
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = tonumber(redis.call('GET', KEYS[1]) or 0)
local revision = string.format('%.0f', math.max(now, last + 1))
redis.call('SET', KEYS[1], revision)
return revision
