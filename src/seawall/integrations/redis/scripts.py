"""The verbs in Redis' own language: one Lua script each, so that none can be interrupted half way.

Times are the server's, in seconds since 1970. A script may be run twice for one request, when a connection is lost: a
second run gives the same answer. A full server refuses what takes more room, but not in a script that has written
already: so whatever ends or keeps what there is begins with a PERSIST, and is never refused.
"""

from __future__ import annotations

from typing import Final

_NOW: Final = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1e6
local function at(seconds) return string.format('%.6f', now + seconds) end
local function keep(seconds) redis.call('PEXPIRE', KEYS[1], math.ceil(seconds * 1000)) end
"""

_CLAIM: Final = (
    _NOW
    + """
local function put(...) redis.call('HSET', KEYS[1], 'updated_at', at(0), ...) end
local function look()
    local row = redis.call('HMGET', KEYS[1], 'state', 'fingerprint', 'owner', 'epoch', 'takeover', 'lease_until',
        'result', 'result_type', 'note', 'created_at', 'updated_at', 'expires_at')
    table.insert(row, 1, at(0))
    return row
end
local function held_by(owner, epoch)
    local row = redis.call('HMGET', KEYS[1], 'state', 'owner', 'epoch')
    local ours = row[2] == owner and (epoch == '' or row[3] == epoch)
    return ours and (row[1] == 'running' or row[1] == 'unknown')
end
local function is(state, owner, epoch)
    local row = redis.call('HMGET', KEYS[1], 'state', 'owner', 'epoch')
    return row[1] == state and row[2] == owner and (epoch == '' or row[3] == epoch) and 1 or 0
end
"""
)
"""Fields of a claim are those of the table seawall_idempotency."""

LOOK: Final = _CLAIM + "return look()"

TAKE: Final = (
    _CLAIM
    + """
local fingerprint, owner, lease, ttl, takeover = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local row = redis.call('HMGET', KEYS[1], 'state', 'fingerprint', 'owner', 'epoch', 'takeover', 'lease_until', 'note',
    'created_at', 'expires_at')
local state, epoch, note, created = row[1], tonumber(row[4] or 0) + 1, '', at(0)
local free = not state or state == 'failed' or (state == 'done' and tonumber(row[9]) <= now)
local lapsed = state == 'running' and row[2] == fingerprint and tonumber(row[6]) <= now
if state == 'running' and row[2] == fingerprint then
    if row[3] == owner then
        free, epoch, note, created = true, tonumber(row[4]), row[7] or '', row[8]
    elseif lapsed and row[5] == '1' then
        free, note, created = true, 'taken over', row[8]
    end
end
if not free then
    local answer = look()
    if lapsed then put('state', 'unknown', 'note', ARGV[6]) end
    return answer
end
put('state', 'running', 'fingerprint', fingerprint, 'owner', owner, 'epoch', string.format('%d', epoch),
    'takeover', takeover, 'lease_until', at(lease), 'note', note, 'created_at', created, 'expires_at', at(ttl),
    'result_type', ARGV[7])
redis.call('HDEL', KEYS[1], 'result')
if takeover == '1' then keep(ttl + lease) else redis.call('PERSIST', KEYS[1]) end
return {string.format('%d', epoch), note == '' and '0' or '1'}
"""
)

RENEW: Final = (
    _CLAIM
    + """
if not held_by(ARGV[1], ARGV[2]) then return 0 end
local left = redis.call('PTTL', KEYS[1])
redis.call('PERSIST', KEYS[1])
put('state', 'running', 'lease_until', at(tonumber(ARGV[3])))
if left >= 0 then keep(math.max(left / 1000, tonumber(ARGV[3]) * 2)) end
return 1
"""
)

COMPLETE: Final = (
    _CLAIM
    + """
if not held_by(ARGV[1], ARGV[2]) then return is('done', ARGV[1], ARGV[2]) end
redis.call('PERSIST', KEYS[1])
put('state', 'done', 'result', ARGV[3], 'result_type', ARGV[4], 'note', '', 'lease_until', at(0),
    'expires_at', at(tonumber(ARGV[5])))
keep(tonumber(ARGV[5]))
return 1
"""
)

RELEASE: Final = (
    _CLAIM
    + """
if not held_by(ARGV[1], '') then return is('failed', ARGV[1], '') end
redis.call('PERSIST', KEYS[1])
put('state', 'failed', 'note', ARGV[2], 'lease_until', at(0), 'expires_at', at(tonumber(ARGV[3])))
keep(tonumber(ARGV[3]))
return 1
"""
)

DOUBT: Final = (
    _CLAIM
    + """
local later = string.format('%d', tonumber(ARGV[2]) + 1)
if not held_by(ARGV[1], ARGV[2]) then return is('unknown', ARGV[1], later) end
redis.call('PERSIST', KEYS[1])
put('state', 'unknown', 'note', ARGV[3], 'epoch', later)
return 1
"""
)

SETTLE: Final = (
    _CLAIM
    + """
local owner, of, state, result, result_type, note, ttl = unpack(ARGV)
local row = redis.call('HMGET', KEYS[1], 'state', 'owner', 'epoch', 'lease_until')
local open = row[1] == 'unknown' or (row[1] == 'running' and tonumber(row[4]) <= now)
if not open or (of ~= '' and of ~= row[2]) then return row[2] == owner and 1 or 0 end
put('state', state, 'note', note, 'owner', owner, 'epoch', string.format('%d', tonumber(row[3]) + 1),
    'expires_at', at(tonumber(ttl)))
if state == 'done' then put('result', result, 'result_type', result_type) end
keep(tonumber(ttl))
return 1
"""
)

TAKE_LOCK: Final = (
    _NOW
    + """
local owner, lease = ARGV[1], tonumber(ARGV[2])
local row = redis.call('HMGET', KEYS[1], 'owner', 'token', 'lease_until')
local ours = row[1] == owner
if row[1] and row[1] ~= '' and not ours and tonumber(row[3]) > now then return {'', at(-0), row[3]} end
local token = ours and row[2] or string.format('%.0f', math.max(tonumber(row[2] or 0) + 1, math.floor(now * 1e6)))
redis.call('HSET', KEYS[1], 'owner', owner, 'token', token, 'lease_until', at(lease))
return {token}
"""
)
"""A token is at least the time in microseconds: so they grow even where the server forgot the last one."""

RENEW_LOCK: Final = (
    _NOW
    + """
if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
redis.call('PERSIST', KEYS[1])
redis.call('HSET', KEYS[1], 'lease_until', at(tonumber(ARGV[2])))
return 1
"""
)

FREE_LOCK: Final = """
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then
    redis.call('PERSIST', KEYS[1])
    redis.call('HSET', KEYS[1], 'owner', '', 'lease_until', '0')
end
return 1
"""

ADD_COUNT: Final = """
if not redis.call('SET', KEYS[2], '1', 'NX', 'EX', '600') then return tonumber(redis.call('GET', KEYS[1]) or 0) end
local value = redis.call('INCRBY', KEYS[1], ARGV[1])
if ARGV[2] ~= '' and redis.call('PTTL', KEYS[1]) < 0 then
    redis.call('PEXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2]) * 1000))
end
return value
"""
"""The second key marks this one addition for ten minutes, so that it does not count twice."""

READ_COUNT: Final = "return tonumber(redis.call('GET', KEYS[1]) or 0)"
