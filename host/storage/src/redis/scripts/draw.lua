-- KEYS: used, allowances
-- ARGV: host, for how many milliseconds; then for each rate what is allowed or '', what the host has
-- used, how much of that is counted if the host is not known, what is left of its allowance, what it
-- needs, and what it wants
-- Counts what a host has used and replaces its allowances. Returns the number of hosts, then for each
-- rate its allowance, what all hosts have used, what all may use, the milliseconds until some is free
-- again, and whether the quota is large enough for more than what is needed, and ten times as large, as
-- 1 or 0.
local wrong = mistyped({ 'hash', 'hash' })
if wrong then
  return wrong
end
local names = { 'requests', 'fuel', 'tokens' }
-- After so many milliseconds without a draw, a host does not count any more.
local forgotten = 60000
local time = redis.call('TIME')
local second = tonumber(time[1])
local now = second * 1000 + math.floor(time[2] / 1000)

local function number(text)
  return tonumber(text or 0) or 0
end

local function whole(value)
  return string.format('%.0f', math.max(0, value))
end

local was = redis.call('HMGET', KEYS[1], 'requests', 'requests:at', 'fuel', 'fuel:at', 'tokens', 'tokens:at')
local is = {}

local function set(name, value)
  is[#is + 1], is[#is + 2] = name, value
end

-- What is left of the requests' bucket, which is refilled within a second.
local function level_of_second(allowed)
  local level = number(was[1])
  local refilled = math.max(0, now - number(was[2])) / 1000 * (allowed > 0 and allowed or math.max(level, 1))
  return math.max(0, level - refilled)
end

local function cells(name, first, last)
  local cells = {}
  for at = first, last do
    cells[#cells + 1] = name .. ':' .. at % 60
  end
  return cells
end

-- What was used in the last 60 seconds, of which each has a cell, and which second it is. Empties the
-- cells of earlier ones. Where the clock was set back a little it stands still, else it begins anew.
local function level_of_minute(rate, name)
  local level, at = number(was[2 * rate - 1]), number(was[2 * rate])
  if level == 0 or at == second then
    return level, second
  end
  if second < at and second > at - 60 then
    return level, at
  end
  local first = second > at and math.max(at + 1, second - 59) or second - 59
  local old = cells(name, first, second)
  for _, used in ipairs(redis.call('HMGET', KEYS[1], unpack(old))) do
    level = level - number(used)
  end
  redis.call('HDEL', KEYS[1], unpack(old))
  return #old < 60 and math.max(0, level) or 0, second
end

-- The milliseconds until less than `allowed` was used in the last 60 seconds.
local function wait_of_minute(name, level, allowed)
  local beyond = level - allowed
  if beyond < 0 then
    return 1000
  end
  for age, used in ipairs(redis.call('HMGET', KEYS[1], unpack(cells(name, second - 59, second)))) do
    beyond = beyond - number(used)
    if beyond < 0 then
      return (second + age) * 1000 - now
    end
  end
  return 60000
end

-- What a host said last: when, when its allowances end, and for each rate what it had used and its
-- allowance.
local function parse(text)
  local said = {}
  for word in string.gmatch(text, '%S+') do
    said[#said + 1] = number(word)
  end
  return #said == 8 and said[1] + forgotten > now and said or nil
end

local function format(said)
  local words = {}
  for i, value in ipairs(said) do
    words[i] = whole(value)
  end
  return table.concat(words, ' ')
end

local hosts, own = 1, nil
local others, added = { 0, 0, 0 }, { 0, 0, 0 }
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local host, said = all[i], parse(all[i + 1])
  if not said then
    redis.call('HDEL', KEYS[2], host)
  else
    local has_ended = said[2] <= now
    for rate = 1, 3 do
      local used, allowance = 1 + 2 * rate, 2 + 2 * rate
      if has_ended then
        added[rate] = added[rate] + said[allowance]
        said[used], said[allowance] = said[used] + said[allowance], 0
      end
      if host ~= ARGV[1] then
        others[rate] = others[rate] + said[allowance]
      end
    end
    if host == ARGV[1] then
      own = said
    else
      hosts = hosts + 1
      if has_ended then
        redis.call('HSET', KEYS[2], host, format(said))
      end
    end
  end
end

local says, reply = { now, now + ARGV[2] }, { whole(hosts) }
for rate, name in ipairs(names) do
  local first = 6 * rate - 3
  local allowed, used, counted = number(ARGV[first]), number(ARGV[first + 1]), number(ARGV[first + 2])
  local needed, wanted = number(ARGV[first + 4]), number(ARGV[first + 5])
  local kept = math.min(number(ARGV[first + 3]), own and own[2 + 2 * rate] or 0)
  local level, at
  if rate == 1 then
    level = level_of_second(allowed)
  else
    level, at = level_of_minute(rate, name)
  end
  added[rate] = added[rate] + math.max(0, used - (own and own[1 + 2 * rate] or counted))
  level = level + added[rate]
  if rate == 1 then
    set(name, string.format('%.6f', level))
    set(name .. ':at', whole(now))
  elseif level > 0 or was[2 * rate] then
    set(name, whole(level))
    set(name .. ':at', whole(at))
    if added[rate] > 0 then
      local cell = name .. ':' .. at % 60
      local cell_is = whole(number(redis.call('HGET', KEYS[1], cell)) + added[rate])
      redis.call('HSET', KEYS[1], cell, cell_is)
    end
  end
  local granted, after, is_ahead, is_plenty = 0, 0, false, false
  if ARGV[first] ~= '' then
    local a_minute = (rate == 1 and 60 or 1) * allowed
    is_ahead, is_plenty = a_minute >= 100 * hosts, a_minute >= 1000 * hosts
    local free = math.max(0, math.floor(allowed - level - others[rate]))
    granted = needed
    if is_ahead and wanted > 0 then
      -- Small allowances: what stays unused with one host is missing with the others.
      local least, most = allowed / (rate == 1 and 10 or 100), allowed / (rate == 1 and 2 or 10)
      wanted = math.min(math.max(wanted, least / hosts), most / hosts, free / hosts)
      granted = math.max(needed, math.floor(wanted), 1)
    end
    granted = math.max(math.min(granted, free), kept)
    if free == 0 or granted < needed then
      if rate > 1 then
        after = wait_of_minute(name, level, allowed)
      elseif allowed > 0 then
        after = math.ceil((level + others[rate] + granted + 1 - allowed) / allowed * 1000)
      else
        after = 60000
      end
    end
  end
  says[1 + 2 * rate], says[2 + 2 * rate] = used, granted
  reply[6 * rate - 4] = whole(granted)
  reply[6 * rate - 3] = whole(math.ceil(level))
  reply[6 * rate - 2] = whole(others[rate] + granted)
  reply[6 * rate - 1] = whole(after)
  reply[6 * rate] = is_ahead and '1' or '0'
  reply[6 * rate + 1] = is_plenty and '1' or '0'
end
redis.call('HSET', KEYS[1], unpack(is))
redis.call('HSET', KEYS[2], ARGV[1], format(says))
redis.call('PEXPIRE', KEYS[1], 2 * forgotten)
redis.call('PEXPIRE', KEYS[2], 2 * forgotten)
return reply
