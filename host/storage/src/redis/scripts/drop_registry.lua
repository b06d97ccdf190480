-- KEYS: registry
-- ARGV: revision
-- Deletes the revision of a tenant's registry, unless it was raised meanwhile.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('DEL', KEYS[1])
end
return 1
