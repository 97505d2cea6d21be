-- What Redis gives a script.
std = "lua51"
globals = {}
read_globals = { "KEYS", "ARGV", "redis", "cjson", "cmsgpack", "bit", "struct" }
max_line_length = 140
