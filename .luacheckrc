-- What Redis gives a script.
std = "lua51"
globals = {}
read_globals = { "KEYS", "ARGV", "redis", "cjson", "cmsgpack", "bit", "struct" }
-- What the pieces of redis-lua/shared give the scripts that use them.
files["redis-lua/*/*.lua"].read_globals = { "now", "us", "publish", "frame_to", "tell", "is_replay", "note_signed", "move",
    "outlive" }
files["redis-lua/shared/*.lua"].ignore = { "211" }
max_line_length = 140
