-- Leases tokens of a bucket, or takes them back (a negative want).
-- KEYS[1]: the bucket. ARGV: tokens a second, the most it holds, tokens wanted,
-- the process, the calls a second that it sees.
-- Answers the tokens granted, and the milliseconds until there is one more.
local rate, burst, want, demand = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local micros = tonumber(time[2]) % 1000 / 1000
local tokens, at, all = burst, now + micros, demand
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
	local name, value = fields[i], fields[i + 1]
	if name == 'tokens' then
		tokens = tonumber(value)
	elseif name == 'at' then
		at = tonumber(value)
	elseif name ~= 'by ' .. ARGV[4] then
		local seen, when = string.match(value, '^(%S+) (%S+)$')
		if now - tonumber(when) > 1000 then
			redis.call('HDEL', KEYS[1], name)
		else
			all = all + tonumber(seen)
		end
	end
end
tokens = math.min(burst, tokens + math.max(0, now + micros - at) * rate / 1000)
local granted = want
if want > 0 then
	granted = math.min(want, math.floor(tokens))
	if all > rate then -- not enough for everybody
		granted = math.min(granted, math.max(1, math.ceil(tokens * demand / all)))
	end
end
tokens = math.min(burst, tokens - granted)
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%.3f', now + micros))
if demand > 0 then
	redis.call('HSET', KEYS[1], 'by ' .. ARGV[4], string.format('%.1f %d', demand, now))
else
	redis.call('HDEL', KEYS[1], 'by ' .. ARGV[4])
end
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 10000)
return {granted, math.ceil(math.max(0, 1 - tokens) * 1000 / rate)}
