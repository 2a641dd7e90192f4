-- For wrk: posts the bodies of a file, a line each, in turn; ends with a line of JSON.
--   wrk ... -s serving.lua http://127.0.0.1:8000 -- bodies.jsonl
local requests, n = {}, 0

function init(arguments)
  local headers = { ["Content-Type"] = "application/json", ["Host"] = wrk.host .. ":" .. wrk.port }
  for line in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("POST", "/predict", headers, line)
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
