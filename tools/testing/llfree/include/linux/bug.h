/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_BUG_H
#define _SHIM_LINUX_BUG_H

#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <shim/shim.h>

#define WARN_ON(cond)							\
	(unlikely(cond) ? shim_warn(__FILE__, __LINE__, #cond) : 0)
#define WARN(cond, fmt...)						\
	(unlikely(cond) ? shim_warn(__FILE__, __LINE__, #cond) : 0)
#define WARN_ON_ONCE(cond)	WARN_ON(cond)
#define WARN_ONCE(cond, fmt...)	WARN(cond, fmt)

#endif
