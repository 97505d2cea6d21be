/* SPDX-License-Identifier: MIT */
/* supervisor: runs several worker processes on one port and starts a crashed one again. */
#pragma once

/* count workers, each by run(); check, if given, is called some times a second; reload at SIGHUP, which is then passed
 * on to the workers. Returns the exit status of the program, once SIGTERM or SIGINT came and all ended. */
int supervisor_run(int count, int (*run)(void), void (*check)(void), void (*reload)(void));
