-- For wrk: posts the bodies of a file, a line each, in turn; ends with a line of JSON.
--   wrk ... -s serving.lua http://127.0.0.1:8000 -- bodies.jsonl [REQUESTS_A_SECOND]
-- With a rate, requests are sent at equal intervals, over a connection that has its answer.
local ffi = require("ffi")
ffi.cdef("typedef struct { long seconds, nanoseconds; } moment; int clock_gettime(int, moment *);")
local requests, n = {}, 0
local clock, MONOTONIC = ffi.new("moment"), 1

local function milliseconds()
  ffi.C.clock_gettime(MONOTONIC, clock)
  return tonumber(clock.seconds) * 1e3 + tonumber(clock.nanoseconds) / 1e6
end

function init(arguments)
  local headers = { ["Content-Type"] = "application/json", ["Host"] = wrk.host .. ":" .. wrk.port }
  for line in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("POST", "/predict", headers, line)
  end
  if arguments[2] then
    local interval, due = 1e3 / tonumber(arguments[2])
    function delay()  -- wrk calls it before each request
      local now = milliseconds()
      due = math.max((due or now) + interval, now - 1e3)  -- what is late is caught up, up to a second of it
      return math.max(math.floor(due - now + 0.5), 0)
    end
  end
end

function request()
  n = n % #requests + 1
  return requests[n]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "max": %d, '
      .. '"statuses": %d, "connect": %d, "read": %d, "write": %d, "timeout": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    errors.status, errors.connect, errors.read, errors.write, errors.timeout
  ))
end
