-- Precedes every script that reads or changes facts for a caller.

-- An error if the registry that the caller goes by is not the one in force; nothing if it is, or if
-- the caller goes by none. Changes nothing, and is called before anything is changed.
local function stale(registry, known)
  if known ~= '' and (redis.call('GET', registry) or '0') ~= known then
    return redis.error_reply('STALE the caller goes by ' .. known)
  end
end

