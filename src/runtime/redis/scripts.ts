/**
 * What Redis does as one step, in its own Lua and by its own clock: servers' clocks need not agree.
 *
 * @module
 */

/** The clock in milliseconds. */
const clock = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`;

/**
 * A tenant's use in a minute, as `src/server/quota.ts` has it: two buckets that fill at an even rate, and may owe.
 *
 * KEYS: the tenant's hash. ARGV: requestsPerMinute and tokensPerMinute, "" for none; tokens that were used; "1" to take a
 * request, else "0". Answers: 0, or 1 where tokens are used up, or 2 for requests; and milliseconds to wait.
 */
export const quotaScript = `${clock}
local had = redis.call("HMGET", KEYS[1], "requests", "tokens", "at")
-- The clock may have been set back.
local since = math.max(0, now - tonumber(had[3] or now))
local used, takes = tonumber(ARGV[3]), ARGV[4] == "1"

local function filled(left, perMinute)
  return math.min(perMinute, tonumber(left or perMinute) + since * perMinute / 60000)
end
local function untilOne(left, perMinute)
  if left >= 1 then return 0 end
  return math.ceil((1 - left) * 60000 / perMinute)
end

local perRequests, perTokens = tonumber(ARGV[1]), tonumber(ARGV[2])
local requests, tokens, usedUp, wait, untilFull = false, false, 0, 0, 0
if perTokens then
  tokens = filled(had[2], perTokens) - used
  untilFull = (perTokens - tokens) * 60000 / perTokens
  wait = untilOne(tokens, perTokens)
  if takes and wait > 0 then usedUp = 1 end
end
if perRequests then
  requests = filled(had[1], perRequests)
  if takes and usedUp == 0 then
    wait = untilOne(requests, perRequests)
    if wait > 0 then usedUp = 2 else requests = requests - 1 end
  end
  untilFull = math.max(untilFull, (perRequests - requests) * 60000 / perRequests)
end
local function kept(left) return left and string.format("%.6f", left) or "" end
redis.call("DEL", KEYS[1])
if perRequests then redis.call("HSET", KEYS[1], "requests", kept(requests)) end
if perTokens then redis.call("HSET", KEYS[1], "tokens", kept(tokens)) end
redis.call("HSET", KEYS[1], "at", string.format("%.0f", now))
-- Full buckets are those of a tenant that is not known.
redis.call("PEXPIRE", KEYS[1], math.ceil(untilFull) + 1000)
if usedUp == 0 then wait = 0 end
return { usedUp, wait }
`;

/**
 * Says that a server is there, and counts those that said so lately.
 *
 * KEYS: a sorted set of servers by time. ARGV: the server, and milliseconds for which it counts.
 */
export const serversScript = `${clock}
redis.call("ZADD", KEYS[1], now, ARGV[1])
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", now - tonumber(ARGV[2]))
-- Times of before the clock was set back would count for long.
redis.call("ZREMRANGEBYSCORE", KEYS[1], "(" .. now, "+inf")
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return redis.call("ZCARD", KEYS[1])
`;
