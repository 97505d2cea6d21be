/* SPDX-License-Identifier: MIT */
#undef NDEBUG /* the asserts are what is tested */
#include "signalbox/inbox.h"

#include <assert.h>
#include <string.h>

#define HEADER_LEN 20
#define TARGET_LEN 10

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The targets and the body follow each other without a gap and end where the frame does. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct inbox_frame frame;
    struct inbox_target target;
    const char *at = (const char *)data + HEADER_LEN;
    unsigned targets, seen = 0;

    if (!inbox_frame_read((struct span){(const char *)data, size}, &frame))
        return 0;
    assert(frame.operation >= INBOX_SEND && frame.operation < INBOX_OPERATIONS);
    assert(memcmp(frame.from.wid, data + 2, WID_LEN) == 0 && frame.from.wid[WID_LEN] == '\0');
    targets = frame.targets;
    for (; inbox_next_target(&frame, &target); seen++) {
        assert(target.entry.at == at + TARGET_LEN);
        at = target.entry.at + target.entry.len;
        assert(at <= (const char *)data + size);
    }
    assert(seen == targets);
    assert(frame.body.at == at && at + frame.body.len == (const char *)data + size);
    return 0;
}
