/* SPDX-License-Identifier: GPL-2.0 */
/* Functions whose names the linker changes: option --wrap */
#ifndef _TOOLS_TESTING_ND_POOL_EMULATE_H
#define _TOOLS_TESTING_ND_POOL_EMULATE_H

#include <stddef.h>
#include <sys/types.h>

int __real_ioctl(int fd, unsigned long cmd, void *arg);
void *__real_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
int __real_flock(int fd, int op);
int __wrap_ioctl(int fd, unsigned long cmd, ...);
void *__wrap_mmap(void *addr, size_t size, int prot, int flags, int fd, off_t offset);
int __wrap_flock(int fd, int op);

#endif /* _TOOLS_TESTING_ND_POOL_EMULATE_H */
