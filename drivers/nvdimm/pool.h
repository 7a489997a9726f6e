/* SPDX-License-Identifier: GPL-2.0 */
/* Pools of page frames in persistent memory: what the driver and its device share */
#ifndef __NVDIMM_POOL_H__
#define __NVDIMM_POOL_H__

#include <linux/atomic.h>
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/llfree_pool.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

struct dax_device;
struct nd_namespace_common;
struct nd_pool_lossy;
struct nd_region;

/**
 * struct nd_pool - a namespace that is a pool
 * @dev: device of the character device; the structure lives as long
 * @cdev: /dev/ndpoolN
 * @dax: has the inode that all mappings share, and says whether the pool is attached: what
 *	needs that is in a section of dax_read_lock(). It lives as long as @dev.
 * @ndns: the namespace
 * @region: its region
 * @core: the pool
 * @medium: how @core reaches the namespace
 * @lossy: the copy that @medium has instead of metadata, in some tests
 * @mem: volatile memory of @core
 * @locals: the same, of its slots
 * @data: address of the namespace
 * @pfn: its first page frame
 * @recovery_us: how long attaching took
 * @bad_frames: frames that cannot be written and are not handed out
 * @nr_bad_frames: number of them
 * @users_lock: protects @users; keeps new users out while the last one goes, and while
 *	one sweeps
 * @users: open files
 * @node: of the list of all pools
 * @uuid: UUID of the pool, for the other pools on the list. Attaching writes the copy in
 *	@core, without a lock.
 */
struct nd_pool {
	struct device dev;
	struct cdev cdev;
	struct dax_device *dax;
	struct nd_namespace_common *ndns;
	struct nd_region *region;
	struct llfree_pool core;
	struct llfree_pool_medium medium;
	struct nd_pool_lossy *lossy;
	struct llfree_memory mem;
	struct llfree_local *locals;
	void *data;
	unsigned long pfn;
	u64 recovery_us;
	struct xarray bad_frames;
	atomic_long_t nr_bad_frames;
	struct mutex users_lock; /* see above */
	unsigned int users;
	struct list_head node;
	u8 uuid[16];
};

u32 nd_pool_persistence(const struct nd_pool *np);
bool nd_pool_can_read(struct nd_pool *np, u64 offset, u64 size);
int nd_pool_zero(struct nd_pool *np, u64 offset, u64 size);
int nd_pool_repair_rows(struct nd_pool *np, unsigned long first, unsigned long nr);

#ifdef CONFIG_ND_POOL_LOSSY
int nd_pool_lossy_start(struct nd_pool *np, size_t size);
void nd_pool_lossy_stop(struct nd_pool *np);
#else
static inline int nd_pool_lossy_start(struct nd_pool *np, size_t size)
{
	return -EOPNOTSUPP;
}

static inline void nd_pool_lossy_stop(struct nd_pool *np)
{
}
#endif

int nd_pool_add_device(struct nd_pool *np);
void nd_pool_revoke(struct nd_pool *np);
void nd_pool_del_device(struct nd_pool *np);

int nd_pool_dev_init(void);
void nd_pool_dev_exit(void);

#endif
