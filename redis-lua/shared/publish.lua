-- shared/publish: the one place that publishes, for the scripts with the line `-- USES publish`.
-- publish(channel, message)   tells how many workers heard it; 0: none listens there
-- frame_to(head, sid, entry, body)   makes a frame with one target (inbox.h), from its head on
-- tell(address, self, channel, head, entry, body)   sends such a frame to the worker of that address, whose inbox is
--   channel .. wid, unless that is self. Returns "told" and how many heard it, "unheard" and 0, or "here" and -1
local function publish(channel, message)
  return redis.call('PUBLISH', channel, message)
end
local function frame_to(head, sid, entry, body)
  return head .. struct.pack('<I2I8I2', 1, sid, #entry) .. entry .. body
end
local function tell(address, self, channel, head, entry, body)
  local wid, sid = address:match('^(%x+)%.(%d+)$')
  if wid == self then
    return 'here', -1
  end
  local heard = publish(channel .. wid, frame_to(head, sid, entry, body))
  return heard > 0 and 'told' or 'unheard', heard
end
