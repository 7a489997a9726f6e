/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_COMPILER_H
#define _SHIM_LINUX_COMPILER_H

#include_next <linux/compiler.h>
#include <shim/atomic.h>

#define __uninitialized
/* An access that may race on purpose */
#define data_race(expr)	(expr)

#endif
