/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _SHIM_LINUX_MODULE_H
#define _SHIM_LINUX_MODULE_H

#include <linux/build_bug.h>

#define MODULE_LICENSE(license)		static_assert(sizeof(license))
#define MODULE_IMPORT_NS(ns)		static_assert(sizeof(#ns))
#define MODULE_DESCRIPTION(description)	static_assert(sizeof(description))

#endif /* _SHIM_LINUX_MODULE_H */
