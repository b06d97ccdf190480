-- KEYS: spaces, then the keys of the space
-- ARGV: extension
-- Deletes what an extension keeps.
redis.call('UNLINK', unpack(KEYS, 2))
redis.call('SREM', KEYS[1], ARGV[1])
return 1
