/* SPDX-License-Identifier: MIT */
#include "signalbox/tcp_progress.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

uint64_t tcp_taken(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 ? info.tcpi_bytes_acked : 0;
}

uint64_t tcp_written(int fd)
{
    int on_their_way = 0;

    return ioctl(fd, SIOCOUTQ, &on_their_way) == 0 ? tcp_taken(fd) + (uint64_t)on_their_way : 0;
}
