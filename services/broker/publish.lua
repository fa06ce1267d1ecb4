-- Publishes a message to the channel of its topic, and to one process of each
-- queue that wants it.
--
-- KEYS[1] the queues of the topic, KEYS[2] those with wildcards: hashes from
--         "pattern NUL queue NUL process" to the number of members there
-- ARGV[1] channel, ARGV[2] topic, ARGV[3] the one queue to choose of, as
--         "pattern NUL queue", or "" to publish to all, ARGV[4] a random number,
--         ARGV[5] message
local function matches(pattern, topic)
	local levels, n = {}, 0
	for level in (topic .. '.'):gmatch('(.-)%.') do
		n = n + 1
		levels[n] = level
	end
	local i = 0
	for level in (pattern .. '.'):gmatch('(.-)%.') do
		i = i + 1
		if level == '>' then return i <= n end
		if i > n or level ~= '*' and level ~= levels[i] then return false end
	end
	return i == n
end

local queues, order = {}, {}
for _, key in ipairs(KEYS) do
	local all = redis.call('HGETALL', key)
	for i = 1, #all, 2 do
		local pattern, queue, process = all[i]:match('^(.-)%z(.-)%z(.*)$')
		local name = pattern .. '\0' .. queue
		if (ARGV[3] == '' or ARGV[3] == name) and (pattern == ARGV[2] or matches(pattern, ARGV[2])) then
			if not queues[name] then
				queues[name] = {total = 0}
				order[#order + 1] = name
			end
			local q, count = queues[name], tonumber(all[i + 1])
			q[#q + 1] = {key = key, field = all[i], process = process, count = count}
			q.total = q.total + count
		end
	end
end

local reached = 0
if ARGV[3] == '' then reached = redis.call('PUBLISH', ARGV[1], ARGV[5]) end
for _, name in ipairs(order) do
	local q = queues[name]
	local head = KEYS[2] .. '\0' .. name .. '\0' .. ARGV[2]
	local letter = #head .. ':' .. head .. ARGV[5]
	while q.total > 0 do
		local left, chosen = tonumber(ARGV[4]) % q.total, nil
		for i, m in ipairs(q) do
			if left < m.count then chosen = i break end
			left = left - m.count
		end
		local m = table.remove(q, chosen)
		if redis.call('PUBLISH', 'broker:process:' .. m.process, letter) > 0 then
			reached = reached + 1
			break
		end
		redis.call('HDEL', m.key, m.field) -- the process is gone
		q.total = q.total - m.count
	end
end
return reached
