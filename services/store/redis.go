package store

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/codes"

	"github.com/micro/platform/framework/errors"
	"github.com/micro/platform/internal/full"
)

// A unit has four keys:
//
//	table     hash: bytes, the highest version given. A table exists with bytes
//	records   hash: key to record
//	index     sorted set of the keys, all with the same score: in the order of bytes
//	expiries  sorted set of the keys that expire, by Unix milliseconds
//
// Besides there are the directories of tables and of namespaces (keys.go).
var (
	//go:embed scripts/write.lua
	writeText   string
	writeScript = newScript(writeText)
	//go:embed scripts/read.lua
	readText   string
	readScript = newScript(readText)
	//go:embed scripts/list.lua
	listText   string
	listScript = redis.NewScript(listText)
	//go:embed scripts/expire.lua
	expireText   string
	expireScript = redis.NewScript(expireText)
	openScript   = redis.NewScript(`
		if redis.call('HEXISTS', KEYS[1], 'new') == 0 then return 0 end
		-- Versions go on above those of a dropped table of this name: 64 for each
		-- millisecond that has been, and above what dropScript has left.
		local t = redis.call('TIME')
		local version = (t[1] * 1000 + math.floor(t[2] / 1000)) * 64
		version = math.max(version, tonumber(redis.call('HGET', KEYS[1], 'dropped') or 0))
		redis.call('HSETNX', KEYS[1], 'version', string.format('%d', version))
		redis.call('HSETNX', KEYS[1], 'bytes', 0)
		redis.call('HDEL', KEYS[1], 'new', 'dropped')
		redis.call('PERSIST', KEYS[1])
		return 1`)
	// What is left of a table goes after a minute: nobody writes 64 records in
	// each millisecond for long.
	dropScript = redis.NewScript(`
		local version = redis.call('HGET', KEYS[1], 'version')
		redis.call('UNLINK', unpack(KEYS))
		if version then
			redis.call('HSET', KEYS[1], 'dropped', version)
			redis.call('PEXPIRE', KEYS[1], 60000)
		end
		return 1`)
	forgetScript = redis.NewScript(`
		if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
		return 0`)
)

type db struct {
	redis redis.UniversalClient
	// Single records go in batches. What is written, replicas may have to have
	// before it is acknowledged.
	reads, writes *pipelines
}

func newDB(rdb redis.UniversalClient, replicas int) db {
	return db{redis: rdb, reads: newPipelines(readFlights, 0), writes: newPipelines(writeFlights, replicas)}
}

// down is what a caller hears when Redis did not do what was asked.
func down(doing string, err error) error {
	if told := full.Storage(err); told != nil {
		return told
	}
	return errors.New(codes.Unavailable, "the store is not reachable, try again").Because(fmt.Errorf("%s: %w", doing, err))
}

// lost is what a caller hears of a command without an answer: that its own time
// is up, or that Redis is down.
func lost(ctx context.Context, doing string, err error) error {
	var decided *errors.Error
	if ctx.Err() != nil || errors.As(err, &decided) {
		return err
	}
	return down(doing, err)
}

// change is a write or a deletion.
type change struct {
	key       string
	delete    bool
	life      int64  // milliseconds, 0 for ever
	condition string // "", "absent" or a version
	flags     int
	besides   int64
	body      []byte
}

// outcome is what became of a change.
type outcome struct {
	// result is done, missing (of a deletion), condition, keys or bytes: the
	// condition or the limit that does not hold.
	result  string
	version int64
}

// size is what a table holds.
type size struct {
	keys, bytes int64
}

// apply makes changes, in their order and with nothing in between. It answers
// false when there is no such table.
func (d db) apply(ctx context.Context, u unit, allowed size, changes []change) ([]outcome, size, bool, error) {
	args := make([]any, 0, 2+7*len(changes))
	args = append(args, allowed.keys, allowed.bytes)
	for _, c := range changes {
		kind := "write"
		if c.delete {
			kind = "delete"
		}
		args = append(args, kind, c.key, c.life, c.condition, c.flags, c.besides, c.body)
	}
	rsp, err := d.run(ctx, d.writes, writeScript, u.keys(), args)
	if errors.Is(err, redis.Nil) {
		return nil, size{}, false, nil
	}
	if err != nil {
		return nil, size{}, false, lost(ctx, "write", err)
	}
	have := size{rsp[0].(int64), rsp[1].(int64)}
	out := make([]outcome, 0, len(changes))
	for o := range slices.Chunk(rsp[2:], 2) {
		out = append(out, outcome{o[0].(string), o[1].(int64)})
	}
	return out, have, true, nil
}

// read answers a record and the milliseconds that it has left, negative for
// ever. It answers false when there is none.
func (d db) read(ctx context.Context, u unit, key string) (record string, left int64, found bool, err error) {
	rsp, err := d.run(ctx, d.reads, readScript, u.keys()[:2], []any{key})
	if errors.Is(err, redis.Nil) {
		return "", 0, false, nil
	}
	if err != nil {
		return "", 0, false, lost(ctx, "read", err)
	}
	return rsp[0].(string), rsp[1].(int64), true, nil
}

// query is a page of a table.
type query struct {
	first, past string // keys: from first, up to and without past; "" is open
	desc        bool
	skip        int64
	look        int64 // keys to look at
	suffix      string
	bytes       int64 // of records to answer; 0 for keys only
}

// row is a key, in a page of records with the record.
type row struct {
	key, record string
	left        int64
}

// page is what a query found.
type page struct {
	rows []row
	seen int64  // how many keys were looked at, with any suffix
	last string // of them
	more bool
}

// expireBatch is how many records are deleted at a time when theirs is up.
const expireBatch = 1000

// list reads a page. What is due goes first, so that it is neither seen nor
// counted.
func (d db) list(ctx context.Context, u unit, q query) (page, error) {
	order := "asc"
	if q.desc {
		order = "desc"
	}
	for {
		rsp, err := listScript.Run(ctx, d.redis, u.keys(), q.first, q.past, order, q.skip, q.look, q.suffix, q.bytes).Slice()
		if errors.Is(err, redis.Nil) {
			if _, err := d.expire(ctx, u); err != nil {
				return page{}, err
			}
			continue
		}
		if err != nil {
			return page{}, down("list", err)
		}
		p := page{seen: rsp[0].(int64), last: rsp[1].(string), more: rsp[2].(int64) == 1}
		values := rsp[3].([]any)
		if q.bytes == 0 {
			for _, key := range values {
				p.rows = append(p.rows, row{key: key.(string)})
			}
			return p, nil
		}
		for v := range slices.Chunk(values, 3) {
			p.rows = append(p.rows, row{v[0].(string), v[1].(string), v[2].(int64)})
		}
		return p, nil
	}
}

// expire deletes records whose time is up, and answers how many of at most
// expireBatch.
func (d db) expire(ctx context.Context, u unit) (int64, error) {
	n, err := expireScript.Run(ctx, d.redis, u.keys(), expireBatch).Int64()
	if err != nil {
		return 0, down("expire", err)
	}
	return n, nil
}

// create makes a table. It is listed before it can be written to, so that none
// is ever forgotten: a new one is only opened once the directory has it, and
// drop takes nothing from the directory that was listed again meanwhile.
func (d db) create(ctx context.Context, u unit, token string) error {
	key := u.keys()[0]
	if err := d.redis.HSet(ctx, key, "new", 1).Err(); err != nil {
		return down("create table", err)
	}
	if err := d.redis.SAdd(ctx, namespacesKey, u.namespace).Err(); err != nil {
		return down("list namespace", err)
	}
	if err := d.redis.HSet(ctx, directoryKey(u.namespace), u.table, token).Err(); err != nil {
		return down("list table", err)
	}
	if err := openScript.Run(ctx, d.redis, []string{key}).Err(); err != nil {
		return down("open table", err)
	}
	return nil
}

// drop deletes a table with all it has.
func (d db) drop(ctx context.Context, u unit) error {
	dir := directoryKey(u.namespace)
	token, err := d.redis.HGet(ctx, dir, u.table).Result()
	if errors.Is(err, redis.Nil) {
		return nil
	}
	if err != nil {
		return down("look up table", err)
	}
	if err := dropScript.Run(ctx, d.redis, u.keys()).Err(); err != nil {
		return down("drop table", err)
	}
	if err := forgetScript.Run(ctx, d.redis, []string{dir}, u.table, token).Err(); err != nil {
		return down("forget table", err)
	}
	return nil
}

// tables answers a namespace's units, sorted by name, the index of its blobs
// among them, with what they hold.
func (d db) tables(ctx context.Context, namespace string) (map[unit]size, error) {
	names, err := d.redis.HKeys(ctx, directoryKey(namespace)).Result()
	if err != nil {
		return nil, down("list tables", err)
	}
	out := make(map[unit]size, len(names))
	bytes := make([]*redis.StringCmd, len(names))
	keys := make([]*redis.IntCmd, len(names))
	_, err = d.redis.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, name := range names {
			k := unit{namespace, name}.keys()
			bytes[i], keys[i] = p.HGet(ctx, k[0], "bytes"), p.HLen(ctx, k[1])
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, down("count tables", err)
	}
	for i, name := range names {
		if errors.Is(bytes[i].Err(), redis.Nil) {
			continue // being made, or dropped
		}
		n, err := bytes[i].Int64()
		if err != nil {
			return nil, down("count table", err)
		}
		out[unit{namespace, name}] = size{keys[i].Val(), n}
	}
	return out, nil
}

// namespaces answers those that have or had tables.
func (d db) namespaces(ctx context.Context) ([]string, error) {
	all, err := d.redis.SMembers(ctx, namespacesKey).Result()
	if err != nil {
		return nil, down("list namespaces", err)
	}
	slices.Sort(all)
	return all, nil
}

// lead says whether this process is the one that sweeps for that time. A
// process that is slow does no harm: to sweep twice is to sweep once.
func (d db) lead(ctx context.Context, process string, during time.Duration) (bool, error) {
	ok, err := d.redis.SetNX(ctx, sweepKey, process, during).Result()
	if err != nil {
		return false, down("take the lead", err)
	}
	return ok, nil
}
