-- Precedes every script that writes. Redis performs a script's commands one by one and takes none
-- back, so a key of another type must be found before the first command that modifies.

-- An error that names the first of KEYS that is not what `expected` says at its position: a type,
-- 'number', or false for a key that may be anything. Nothing if all are as they should be or do
-- not exist.
local function mistyped(expected)
  for i, wanted in ipairs(expected) do
    local found = wanted and KEYS[i] and redis.call('TYPE', KEYS[i]).ok or 'none'
    local fits = found == wanted
    if wanted == 'number' and found == 'string' then
      fits = redis.call('GET', KEYS[i]):find('^%-?%d+$') ~= nil
    end
    if found ~= 'none' and not fits then
      return redis.error_reply('MISTYPED ' .. found .. ' ' .. wanted .. ' ' .. KEYS[i])
    end
  end
end

