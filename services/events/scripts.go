package events

import "github.com/redis/go-redis/v9"

// Scripts touch the keys of one topic, so they run in a cluster too.
var (
	// registerScript: set; name, limit (negative is none). 1 if the name is listed.
	registerScript = redis.NewScript(`
		if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 1 then return 1 end
		local limit = tonumber(ARGV[2])
		if limit >= 0 and redis.call('SCARD', KEYS[1]) >= limit then return 0 end
		redis.call('SADD', KEYS[1], ARGV[1])
		return 1`)

	// countScript: stream; position, last position, limit. How many entries there
	// are after the one and up to the other, at most limit, and the last of them.
	countScript = redis.NewScript(`
		local found = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], ARGV[2], 'COUNT', ARGV[3])
		if #found == 0 then return {0, ARGV[1]} end
		return {#found, found[#found][1]}`)

	// takeScript: stream; group, to, from, what to add to the times sent, limit,
	// first id, bytes. Answers id, times sent, event; the event is empty after so
	// many bytes of them, and times sent is 0 for one that was trimmed, which
	// XCLAIM itself forgets.
	takeScript = redis.NewScript(`
		local pending = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[6], '+', ARGV[5], ARGV[3])
		local out, left = {}, tonumber(ARGV[7])
		for _, p in ipairs(pending) do
			local sent, event = p[4] + ARGV[4], ''
			local claim = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, p[1], 'RETRYCOUNT', sent}
			if left <= 0 then table.insert(claim, 'JUSTID') end
			local got = redis.call(unpack(claim))
			if #got == 0 or not got[1] then
				sent = 0
			elseif left > 0 then
				event = got[1][2][2]
				left = left - #event
			end
			table.insert(out, {p[1], sent, event})
		end
		return out`)

	// againScript: stream; group, process, id, times sent. The event, or nil if it
	// is not pending any more.
	againScript = redis.NewScript(`
		local got = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'RETRYCOUNT', ARGV[4])
		if #got == 0 or not got[1] then return false end
		return got[1][2][2]`)

	// buryScript: stream, dead letters; group (empty for none), id, field, event.
	buryScript = redis.NewScript(`
		if ARGV[1] ~= '' and redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
		redis.call('XADD', KEYS[2], '*', ARGV[3], ARGV[4])
		return 1`)

	// forgetScript: stream; group, process.
	forgetScript = redis.NewScript(`
		if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
		return redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])`)
)
