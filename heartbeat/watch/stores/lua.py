"""What a Redis does for us in one step, as scripts. Times are its own.

All keys of a fleet have one prefix with a hash tag, ``hb:{CLUSTER}:``, and are declared:

=================  =========  ==============================================================================
``id``             string     of the store: another one means that it has lost what it had
``seq``            number     counts changes
``order``          sorted     ``p:ID`` and ``f:NUMBER:NODE`` by the number of their newest change
``peer:ID``        hash       the fence (``stamp``, ``epoch``, ``holder``, ``version``), ``living``, ``record``
``failures``       sorted     ``NUMBER:NODE`` by number
``knocks``         sorted     the same of those whose gate never opened
``entries``        hash       the text of each of both
``leases``         sorted     holders by the millisecond in which their lease lapses
``key``            string     under which tokens are sealed
``news``           channel    says who has written something
=================  =========  ==============================================================================
"""

from __future__ import annotations

from typing import Final

__all__ = ["CHANGES", "READ", "RENEW", "SEALING_KEY", "SETTLE", "WRITE"]

#: KEYS id seq leases order failures knocks entries key · ARGV holder lasts_ms proposed_id forget_ms keep_ms
RENEW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], ARGV[3], 'NX')
redis.call('ZADD', KEYS[3], now + tonumber(ARGV[2]), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - tonumber(ARGV[4]))
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[5]) end
local answer = {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]) or '0'}
local leases = redis.call('ZRANGE', KEYS[3], 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
    table.insert(answer, leases[i])
    table.insert(answer, tostring(leases[i + 1] - now))
end
return answer
"""

#: KEYS key · ARGV proposal
SEALING_KEY: Final = """
redis.call('SET', KEYS[1], ARGV[1], 'NX')
return redis.call('GET', KEYS[1])
"""

# What both of the following do with a record and with a failure.
_COMMON: Final = """
local function put(key, at)
    redis.call('HSET', key, 'stamp', ARGV[at + 1], 'epoch', ARGV[at + 2], 'holder', ARGV[at + 3],
        'version', ARGV[at + 4], 'living', ARGV[at + 5], 'record', ARGV[at + 7])
    redis.call('PEXPIRE', key, ARGV[at + 6])
    redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[1]), 'p:' .. ARGV[at])
end
local function note(at)
    redis.call('ZADD', ARGV[at + 3] == '1' and KEYS[5] or KEYS[3], ARGV[at], ARGV[at + 1])
    redis.call('HSET', KEYS[4], ARGV[at + 1], ARGV[at + 2])
    redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[1]), 'f:' .. ARGV[at + 1])
end
local function trim(board, keep)
    local over = redis.call('ZCARD', board) - keep
    if over <= 0 then return end
    for _, member in ipairs(redis.call('ZRANGE', board, 0, over - 1)) do
        redis.call('ZREM', board, member)
        redis.call('HDEL', KEYS[4], member)
        redis.call('ZREM', KEYS[2], 'f:' .. member)
    end
end
"""

#: KEYS seq order failures entries knocks peer... · ARGV channel writer keep_failures (id stamp epoch holder version
#: living lasts_ms record)... (number member text knock)...
WRITE: Final = (
    _COMMON
    + """
local function newer(key, at)
    local there = redis.call('HMGET', key, 'stamp', 'epoch', 'holder', 'version')
    if not there[1] then return true end
    if ARGV[at + 1] ~= there[1] then return ARGV[at + 1] > there[1] end
    local epoch, had = tonumber(ARGV[at + 2]), tonumber(there[2])
    if epoch ~= had then return epoch > had end
    if ARGV[at + 3] ~= there[3] then return ARGV[at + 3] > there[3] end
    return tonumber(ARGV[at + 4]) > tonumber(there[4])
end
local late = {}
local at = 4
for i = 6, #KEYS do
    if newer(KEYS[i], at) then put(KEYS[i], at) else table.insert(late, ARGV[at]) end
    at = at + 8
end
local written = #late < #KEYS - 5 or at < #ARGV
while at < #ARGV do
    note(at)
    at = at + 4
end
trim(KEYS[3], tonumber(ARGV[3]))
trim(KEYS[5], math.floor(tonumber(ARGV[3]) / 2))
if written then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return late
"""
)

#: KEYS as for WRITE · ARGV channel writer keep_failures (stamp epoch holder version, then as for WRITE: a record and a
#: failure, which is four empty texts where there is none)...
SETTLE: Final = (
    _COMMON
    + """
local done = {}
for i = 6, #KEYS do
    local at = 4 + (i - 6) * 16
    local there = redis.call('HMGET', KEYS[i], 'stamp', 'epoch', 'holder', 'version', 'living')
    if there[5] == '1' and there[1] == ARGV[at] and there[2] == ARGV[at + 1] and there[3] == ARGV[at + 2]
            and there[4] == ARGV[at + 3] then
        put(KEYS[i], at + 4)
        if ARGV[at + 12] ~= '' then note(at + 12) end
        table.insert(done, ARGV[at + 4])
    end
end
trim(KEYS[3], tonumber(ARGV[3]))
trim(KEYS[5], math.floor(tonumber(ARGV[3]) / 2))
if #done > 0 then redis.call('PUBLISH', ARGV[1], ARGV[2]) end
return done
"""
)

#: KEYS seq order · ARGV after limit
CHANGES: Final = """
return {redis.call('GET', KEYS[1]) or '0',
    redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])}
"""

#: KEYS order entries peer... · ARGV but, the members of order: first those of the peers, then those of failures
READ: Final = """
local texts = {}
for i = 2, #ARGV do
    local member, text = ARGV[i], nil
    if string.sub(member, 1, 2) == 'p:' then
        local there = redis.call('HMGET', KEYS[i + 1], 'record', 'holder')
        text = there[1]
        if text and there[2] == ARGV[1] then text = '' end
    else
        text = redis.call('HGET', KEYS[2], string.sub(member, 3))
    end
    if not text then redis.call('ZREM', KEYS[1], member) end
    texts[i - 1] = text or ''
end
return texts
"""
