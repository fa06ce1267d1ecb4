-- Reads one record.
-- KEYS: table, records. ARGV: key.
-- Answers the record and the milliseconds that it has left, -1 for ever; nil when
-- there is none.
local s = redis.call('HGET', KEYS[2], ARGV[1])
if not s then return nil end
if bit.band(string.byte(s), 1) == 0 then return {s, -1} end
local t = redis.call('TIME')
local left = struct.unpack('>I6', s, 8) - t[1] * 1000 - math.floor(t[2] / 1000)
if left <= 0 then return nil end
return {s, left}
