-- KEYS: stream, revision
-- ARGV: the revision after which to continue, the most changes
-- Returns the tenant's last revision and the changes, from one moment.
local last = redis.call('GET', KEYS[2]) or '0'
if redis.call('TYPE', KEYS[1]).ok ~= 'stream' then
  return { last, {} }
end
return { last, redis.call('XRANGE', KEYS[1], '(' .. ARGV[1] .. '-0', '+', 'COUNT', ARGV[2]) }
