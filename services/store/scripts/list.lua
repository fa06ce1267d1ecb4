-- Reads a page of one table in the order of its keys.
-- KEYS: table, records, index, expiries.
-- ARGV: first key, key behind the last ("" for none), "asc" or "desc", keys to
-- skip, keys to look at, suffix, bytes of records to answer (0 for keys only).
-- Answers nil when records are due to be deleted first; else how many keys of
-- the range were skipped or looked at, the last of them, whether there are more,
-- and the keys with that suffix; with records, each key is followed by its
-- record and the milliseconds that it has left, -1 for ever.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
if #redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, 1) > 0 then return nil end

local total = redis.call('ZCARD', KEYS[3])
local first, past = 0, total
if ARGV[1] ~= '' then first = redis.call('ZLEXCOUNT', KEYS[3], '-', '(' .. ARGV[1]) end
if ARGV[2] ~= '' then past = redis.call('ZLEXCOUNT', KEYS[3], '-', '(' .. ARGV[2]) end
local skip, look, suffix, most = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local keys
if ARGV[3] == 'asc' then
  local from = first + skip
  keys = from < past and redis.call('ZRANGE', KEYS[3], from, math.min(past, from + look) - 1) or {}
else
  local to = past - skip
  keys = to > first and redis.call('ZREVRANGE', KEYS[3], total - to, total - math.max(first, to - look) - 1) or {}
end

local out, seen, bytes = {}, 0, 0
for _, key in ipairs(keys) do
  if suffix == '' or string.sub(key, -#suffix) == suffix then
    if most > 0 then
      local s = redis.call('HGET', KEYS[2], key)
      if bytes > 0 and bytes + #key + #s > most then break end
      bytes = bytes + #key + #s
      local left = -1
      if bit.band(string.byte(s), 1) ~= 0 then left = struct.unpack('>I6', s, 8) - now end
      out[#out + 1] = key
      out[#out + 1] = s
      out[#out + 1] = left
    else
      out[#out + 1] = key
    end
  end
  seen = seen + 1
end
local more = past - first > skip + seen
local last = keys[seen] or ''
return {seen, last, more and 1 or 0, out}
