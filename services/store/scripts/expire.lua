-- Deletes records of one table whose time is up.
-- KEYS: table, records, index, expiries. ARGV: how many at most.
-- Answers how many there were.
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local due = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', now, 'LIMIT', 0, ARGV[1])
if #due == 0 then return 0 end
local bytes = 0
for _, key in ipairs(due) do
  local s = redis.call('HGET', KEYS[2], key)
  if s then
    bytes = bytes + #key + #s
    if bit.band(string.byte(s), 4) ~= 0 then bytes = bytes + struct.unpack('>I6', s, 14) end
  end
  redis.call('HDEL', KEYS[2], key)
  redis.call('ZREM', KEYS[3], key)
  redis.call('ZREM', KEYS[4], key)
end
redis.call('HINCRBY', KEYS[1], 'bytes', -bytes)
return #due
