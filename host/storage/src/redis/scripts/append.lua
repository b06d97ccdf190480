-- Appends a change to a tenant's stream, whose ids are the revisions, and drops the oldest changes
-- beyond the stream's bounds. `of` is the revision of the fact that the change tells of.
local function append(stream, revision, kind, id, of, by, count, age)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local function add()
    return redis.pcall('XADD', stream, 'MAXLEN', '~', count, string.format('%.0f-0', revision),
      'id', id, 'kind', kind, 'of', string.format('%.0f', of), 'by', by,
      'at', string.format('%.0f', now))
  end
  local added = add()
  if type(added) == 'table' and added.err then
    -- Another program has put something else here, or the revisions were set back. Readers find
    -- that changes are missing, and catch up.
    redis.call('DEL', stream)
    add()
  end
  -- Each call adds one change and drops up to two, so the bound is reached in the end.
  for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+', 'COUNT', 2)) do
    local at = tonumber(entry[2][#entry[2]])
    if not at or at < now - age then
      redis.call('XDEL', stream, entry[1])
    end
  end
  redis.call('PEXPIRE', stream, age)
end

