-- Changes records of one table, with its index and its counters.
-- KEYS: table, records, index, expiries.
-- ARGV: keys that the table may have, bytes that it may have, then
-- for each change seven: "write" or "delete", key,
-- milliseconds to live, condition ("", "absent" or a version), flags of the
-- body, bytes that count besides, body.
-- Answers nil when there is no such table; else keys, bytes, and for each change
-- what became of it, and the version.
-- A record is: flags, 6 bytes of version, 6 of expiry if flag 1, 6 of bytes that
-- count besides if flag 4, the body.
local have = redis.call('HMGET', KEYS[1], 'bytes', 'version')
if not have[1] then return nil end
local bytes, version = tonumber(have[1]), tonumber(have[2] or 0)
local count = redis.call('HLEN', KEYS[2])
local maxKeys, maxBytes = tonumber(ARGV[1]), tonumber(ARGV[2])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local out = {}

local function decode(s)
  local flags, at, expiry, besides = string.byte(s), 8, nil, 0
  if bit.band(flags, 1) ~= 0 then
    expiry = struct.unpack('>I6', s, at)
    at = at + 6
  end
  if bit.band(flags, 4) ~= 0 then besides = struct.unpack('>I6', s, at) end
  return struct.unpack('>I6', s, 2), expiry, besides
end

for i = 3, #ARGV, 7 do
  local kind, key, life, want = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local flags, besides, body = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5]), ARGV[i + 6]
  local was = redis.call('HGET', KEYS[2], key)
  local wasBytes, wasVersion, alive, expiry = 0, 0, false, nil
  if was then
    local v, b
    v, expiry, b = decode(was)
    wasBytes = #key + #was + b
    if not expiry or expiry > now then wasVersion, alive = v, true end
  end
  local result, resultVersion = 'done', 0
  if want == 'absent' and alive or want ~= '' and want ~= 'absent' and tonumber(want) ~= wasVersion then
    result, resultVersion = 'condition', wasVersion
  elseif kind == 'delete' then
    if was then
      redis.call('HDEL', KEYS[2], key)
      redis.call('ZREM', KEYS[3], key)
      if expiry then redis.call('ZREM', KEYS[4], key) end
      bytes, count = bytes - wasBytes, count - 1
    end
    if not alive then result = 'missing' end
  else
    version = version + 1
    local head = ''
    if life > 0 then
      flags = flags + 1
      head = struct.pack('>I6', now + life)
    end
    if besides > 0 then
      flags = flags + 4
      head = head .. struct.pack('>I6', besides)
    end
    local record = struct.pack('>BI6', flags, version) .. head .. body
    local more = #key + #record + besides - wasBytes
    if not was and count >= maxKeys then
      result = 'keys'
    elseif more > 0 and bytes + more > maxBytes then
      result = 'bytes'
    else
      redis.call('HSET', KEYS[2], key, record)
      if not was then
        redis.call('ZADD', KEYS[3], 0, key)
        count = count + 1
      end
      if life > 0 then
        redis.call('ZADD', KEYS[4], now + life, key)
      elseif expiry then
        redis.call('ZREM', KEYS[4], key)
      end
      bytes, resultVersion = bytes + more, version
    end
  end
  out[#out + 1] = result
  out[#out + 1] = resultVersion
end
redis.call('HSET', KEYS[1], 'bytes', bytes, 'version', string.format('%d', version))
table.insert(out, 1, bytes)
table.insert(out, 1, count)
return out
