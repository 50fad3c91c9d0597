/**
 * What Redis does in one step that nothing else comes between. Time is always that of Redis.
 */
import { createHash } from "node:crypto"

/** A script in Lua. */
export interface Script {
  readonly source: string
  /** What Redis knows it by. */
  readonly sha: string
}

const helpers = `
local function millis()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function int(number) return string.format('%.0f', number) end
local function alive(nodes, timeout)
  return redis.call('ZRANGEBYSCORE', nodes, '(' .. int(millis() - tonumber(timeout)), '+inf')
end
local function setOf(list)
  local set = {}
  for _, value in ipairs(list) do set[value] = true end
  return set
end
-- The epoch and number that a text says, or those of a numbering that begins now.
local function position(text)
  local epoch, number = string.match(text or '', '^(%d+)-(%d+)$')
  if epoch then return epoch, tonumber(number) end
  local time = redis.call('TIME')
  return time[1] .. string.format('%06d', time[2]), 0
end
-- Numbers a change of the presence of a group, and tells it.
local function change(presence, ttl, channel, head, body)
  local epoch, number = position(redis.call('HGET', presence, 'v'))
  local at = epoch .. '-' .. int(number + 1)
  redis.call('HSET', presence, 'v', at)
  redis.call('PEXPIRE', presence, ttl)
  redis.call('PUBLISH', channel, head .. ' ' .. at .. '\\n' .. body)
  return at
end
`

const script = (source: string): Script => {
  const whole = helpers + source
  return { source: whole, sha: createHash("sha1").update(whole).digest("hex") }
}

/**
 * A node is alive. Answers with whether it was known to be, what the settings are, and which nodes are alive.
 *
 * KEYS: nodes, settings. ARGV: node, timeout of nodes, time that keys live, settings of this node.
 */
export const beat = script(`
local before = redis.call('ZSCORE', KEYS[1], ARGV[1])
local now = millis()
redis.call('ZADD', KEYS[1], int(now), ARGV[1])
-- The clock has been put back: else nobody would be taken for dead until it is there again.
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. int(now), '+inf')) do
  redis.call('ZADD', KEYS[1], int(now), node)
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - 10 * tonumber(ARGV[2])))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('SET', KEYS[2], ARGV[4], 'NX')
redis.call('PEXPIRE', KEYS[2], ARGV[3])
local known = before and now - tonumber(before) < tonumber(ARGV[2])
return { known and 1 or 0, redis.call('GET', KEYS[2]), alive(KEYS[1], ARGV[2]) }
`)

/** A node stops. KEYS: nodes. ARGV: node, channel, what to tell the others. */
export const stop = script(`
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
`)

/**
 * Says how many members of a group a node has.
 *
 * KEYS: counts. ARGV: node, number, time that keys live, and where the node is to hear that it is done, channel and what it hears.
 */
export const setCount = script(`
if ARGV[2] == '0' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
end
if ARGV[4] then redis.call('PUBLISH', ARGV[4], ARGV[5]) end
`)

/** How many members of a group the other nodes have. KEYS: counts, nodes. ARGV: this node, timeout of nodes. */
export const countOthers = script(`
local living = setOf(alive(KEYS[2], ARGV[2]))
local counts = redis.call('HGETALL', KEYS[1])
local sum = 0
for i = 1, #counts, 2 do
  local node = counts[i]
  if node ~= ARGV[1] then
    if living[node] then
      sum = sum + (tonumber(counts[i + 1]) or 0)
    else
      redis.call('HDEL', KEYS[1], node)
    end
  end
end
return sum
`)

/**
 * A member comes into a group with presence. Answers with the position of that.
 *
 * KEYS: presence. ARGV: field, data, channel, first words, body, time that keys live, whether to tell what is known already.
 */
export const enter = script(`
local new = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if new == 1 or ARGV[7] == '1' then return change(KEYS[1], ARGV[6], ARGV[3], ARGV[4], ARGV[5]) end
return redis.call('HGET', KEYS[1], 'v')
`)

/** A member leaves a group with presence. KEYS: presence. ARGV: field, channel, first words, body, time that keys live. */
export const leave = script(`
redis.call('HDEL', KEYS[1], ARGV[1])
return change(KEYS[1], ARGV[5], ARGV[2], ARGV[3], ARGV[4])
`)

/** Who is in a group: the position, the nodes that are alive, fields and data. KEYS: presence, nodes. ARGV: timeout of nodes. */
export const snapshot = script(`
return { redis.call('HGET', KEYS[1], 'v') or '', alive(KEYS[2], ARGV[1]), redis.call('HGETALL', KEYS[1]) }
`)

/** Forgets the members of a node that is dead. KEYS: presence, nodes. ARGV: timeout of nodes, node, fields. */
export const bury = script(`
if setOf(alive(KEYS[2], ARGV[1]))[ARGV[2]] then return 0 end
for i = 3, #ARGV do redis.call('HDEL', KEYS[1], ARGV[i]) end
return 1
`)

/**
 * Appends an event to the history of a group, and publishes it. Answers with its position.
 *
 * KEYS: events, last. ARGV: how many are kept, for how long, time that the position is known, channel, first word, event.
 */
export const append = script(`
local known = redis.call('GET', KEYS[2])
local epoch, number = position(known)
-- What is left of another epoch would not let this one begin.
if number == 0 then redis.call('DEL', KEYS[1]) end
local at = epoch .. '-' .. int(number + 1)
redis.call('XADD', KEYS[1], 'MAXLEN', '=', ARGV[1], at, 't', int(millis()), 'e', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[2], at, 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[4], ARGV[5] .. ' ' .. at .. '\\n' .. ARGV[6])
return at
`)

/**
 * Where a history stands, and what somebody missed who has seen everything up to a position. Answers with the position, with
 * `fresh`, `resumed` or `gap`, and with positions and events.
 *
 * KEYS: events, last. ARGV: how many are kept, for how long, time that the position is known, what is asked for: nothing (`fresh`),
 * all that is kept (`all`), or what comes `after` a position, with its epoch and number.
 */
export const resume = script(`
local epoch, last = position(redis.call('GET', KEYS[2]))
local at = epoch .. '-' .. int(last)
redis.call('SET', KEYS[2], at, 'PX', ARGV[3])
if ARGV[4] == 'fresh' then return { at, 'fresh' } end
local count, seen = tonumber(ARGV[1]), tonumber(ARGV[6])
local reply = { at, 'resumed' }
if ARGV[4] == 'all' then
  reply[2] = 'fresh'
  seen = math.max(0, last - count)
elseif ARGV[5] ~= epoch or seen > last or last - seen > count then
  return { at, 'gap' }
end
if seen == last then return reply end
local now = millis()
local age = tonumber(ARGV[2])
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], epoch .. '-' .. int(seen + 1), at)) do
  local fields = entry[2]
  if fields[1] == 't' and fields[3] == 'e' and now - tonumber(fields[2]) <= age then
    reply[#reply + 1] = entry[1]
    reply[#reply + 1] = fields[4]
  end
end
if ARGV[4] == 'after' and (#reply - 2) / 2 < last - seen then return { at, 'gap' } end
return reply
`)

/**
 * What is kept of a history after a position, or of another epoch from its beginning. Answers with the position, or nothing
 * where there is no history, and with positions and events.
 *
 * KEYS: events, last. ARGV: epoch and number of the position.
 */
export const since = script(`
local known = redis.call('GET', KEYS[2])
if not known then return { '' } end
local epoch, last = position(known)
local seen = 0
if ARGV[1] == epoch then seen = tonumber(ARGV[2]) end
local reply = { known }
if seen < last then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], epoch .. '-' .. int(seen + 1), known)) do
    reply[#reply + 1] = entry[1]
    reply[#reply + 1] = entry[2][4]
  end
end
return reply
`)

/**
 * Takes a request of what is left under a key. The arithmetic is that of the store in memory.
 *
 * KEYS: key. ARGV: algorithm, capacity, limit, window, whether to take, time or nothing, how much longer the key lives.
 */
export const throttle = script(`
local capacity, limit, window = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(ARGV[6]) or millis()
local spent, at = 0, now
local before = redis.call('GET', KEYS[1])
if before then
  local first, second = string.match(before, '^(%d+) (-?%d+)$')
  if first then spent, at = tonumber(first), tonumber(second) end
end
-- The clock has been put back. What was spent stays so, and from now on time passes as always.
if now < at then at = now end
local wait, lives = 0, 0
if ARGV[1] == 'fixed-window' then
  if now - at >= window then spent, at = 0, now end
  if spent >= capacity then wait = at + window - now else spent = spent + 1 end
  lives = at + window - now
else
  spent = math.max(0, spent - (now - at) * limit)
  at = now
  local missing = spent + window - capacity * window
  if missing > 0 then wait = math.ceil(missing / limit) else spent = spent + window end
  lives = math.ceil(spent / limit)
end
if ARGV[5] == '1' then
  redis.call('SET', KEYS[1], int(spent) .. ' ' .. int(at), 'PX', int(math.max(1, lives + tonumber(ARGV[7]))))
end
return int(wait)
`)

/** What is known of something that is done once: nothing, where that has expired. */
const entry = `
local now = tonumber(ARGV[4]) or millis()
local fingerprint, attempt, outcome, ends = unpack(redis.call('HMGET', KEYS[1], 'f', 'a', 'o', 'u'))
if not ends or tonumber(ends) <= now then fingerprint, attempt, outcome = false, false, false end
local isOurs = attempt == ARGV[2]
local function write(...)
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'f', ARGV[1], 'a', ARGV[2], 'u', int(now + tonumber(ARGV[3])), ...)
  redis.call('PEXPIRE', KEYS[1], int(tonumber(ARGV[3]) + tonumber(ARGV[5])))
end
`

/**
 * An attempt claims what it wants to do, for some time. Answers with `claimed`, `reused`, `waiting`, or with `known` and the outcome.
 *
 * KEYS: entry. ARGV: fingerprint, attempt, how long it holds, what time it is, how much longer keys live.
 */
export const claimAttempt = script(`${entry}
if fingerprint then
  if fingerprint ~= ARGV[1] then return { 'reused' } end
  if outcome then return { 'known', outcome } end
  if not isOurs then return { 'waiting' } end
end
write()
return { 'claimed' }
`)

/** An attempt still does what it has claimed. Answers with whether it is its own. KEYS and ARGV as of a claim. */
export const renewAttempt = script(`${entry}
if fingerprint and not isOurs then return 0 end
if not outcome then write() end
return 1
`)

/** Keeps the outcome of an attempt, unless another one has the claim. KEYS and ARGV as of a claim, and the outcome. */
export const keepOutcome = script(`${entry}
if not fingerprint or isOurs then write('o', ARGV[6]) end
`)

/** An attempt gives up its claim. KEYS and ARGV as of a claim. */
export const releaseAttempt = script(`${entry}
if isOurs and not outcome then redis.call('DEL', KEYS[1]) end
`)

/** All scripts, to be loaded beforehand. */
export const all: ReadonlyArray<Script> = [
  beat,
  stop,
  setCount,
  countOthers,
  enter,
  leave,
  snapshot,
  bury,
  append,
  resume,
  since,
  throttle,
  claimAttempt,
  renewAttempt,
  keepOutcome,
  releaseAttempt
]
