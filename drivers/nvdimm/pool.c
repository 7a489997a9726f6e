// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pools of page frames in persistent memory: the driver of a namespace.
 *
 * This driver attaches a namespace whose first bytes are the superblock of a
 * pool; the block driver gets all others. llpool(8) makes pools; the driver
 * never does. drivers/nvdimm/pool_dev.c is the character device,
 * lib/llfree/pool.c the allocator, Documentation/mm/llfree-pool.rst the
 * description.
 *
 * The driver reads the allocation bits when it attaches the namespace, and
 * writes bits as programs commit and free blocks. Lines of bits with poison
 * count as allocated until a program sweeps and so rewrites them. The driver
 * clears poison in data when it hands out a block. A frame whose poison cannot
 * be cleared is not handed out.
 */
#include <linux/badblocks.h>
#include <linux/dax.h>
#include <linux/io.h>
#include <linux/ktime.h>
#include <linux/libnvdimm.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nd.h>
#include <linux/slab.h>
#include <linux/sysfs.h>
#include <linux/vmalloc.h>
#include <uapi/linux/nd_pool.h>

#include "nd.h"
#include "pool.h"

static_assert(ND_POOL_FRAME_SHIFT == LLFREE_POOL_FRAME_SHIFT);
static_assert(ND_POOL_MAX_ORDER == LLFREE_MAX_ORDER);
static_assert(ND_POOL_NR_ROOTS == LLFREE_POOL_NR_ROOTS);
static_assert(ND_POOL_ROW_FRAMES == LLFREE_ROW_FRAMES);

/* Bytes that are mapped to look for both superblocks */
#define PROBE_SIZE	LLFREE_POOL_STATE
/* Poison has this granularity. */
#define SECTOR		512UL

/* All pools: no two of them have the same uuid. */
static LIST_HEAD(pools);
static DEFINE_MUTEX(pools_lock);

#ifdef CONFIG_ND_POOL_LOSSY
static bool lossy;
module_param(lossy, bool, 0444);
MODULE_PARM_DESC(lossy, "Lose in a crash what was not written back (for tests)");
#else
static const bool lossy;
#endif

/* ---- The medium ---- */

static struct nd_pool *medium_pool(const struct llfree_pool_medium *m)
{
	return container_of(m, struct nd_pool, medium);
}

static void pool_write_back(const struct nd_pool *np, const void *start, size_t size)
{
	if (nvdimm_has_cache(np->region))
		arch_wb_cache_pmem((void *)start, size);
}

static void medium_write_back(const struct llfree_pool_medium *m, const void *start,
			      size_t size)
{
	pool_write_back(medium_pool(m), start, size);
}

static void medium_fence(const struct llfree_pool_medium *m)
{
	pmem_wmb();
}

static int medium_read(const struct llfree_pool_medium *m, void *to, const void *from,
		       size_t size)
{
	return nvdimm_read_bytes(medium_pool(m)->ndns, from - m->base, to, size, 0);
}

/**
 * nd_pool_persistence() - how a store becomes persistent
 * @np: the pool
 *
 * Return: ND_POOL_SURVIVES_RESET, ND_POOL_WRITE_BACK or ND_POOL_FENCE
 */
u32 nd_pool_persistence(const struct nd_pool *np)
{
	if (test_bit(ND_REGION_PERSIST_CACHE, &np->region->flags))
		return ND_POOL_FENCE;
	if (test_bit(ND_REGION_PERSIST_MEMCTRL, &np->region->flags) ||
	    nvdimm_has_flush(np->region) >= 0)
		return ND_POOL_WRITE_BACK;
	return ND_POOL_SURVIVES_RESET;
}

/* Has the range known poison? @offset and @size are multiples of SECTOR. */
static bool pool_is_bad(struct nd_pool *np, u64 offset, u64 size)
{
	return is_bad_pmem(&to_nd_namespace_io(&np->ndns->dev)->bb, offset / SECTOR, size);
}

/**
 * nd_pool_can_read() - is some metadata free of poison?
 * @np: the pool
 * @offset: first byte, not of rows for which llfree_pool_rows_bad() is true
 * @size: in bytes
 *
 * New poison in metadata of an attached pool makes the pool read-only. So there
 * is nothing to look for while the pool is not read-only.
 *
 * Context: any.
 *
 * Return: false if there is known poison
 */
bool nd_pool_can_read(struct nd_pool *np, u64 offset, u64 size)
{
	const u64 start = ALIGN_DOWN(offset, SECTOR);

	return !READ_ONCE(np->core.read_only) ||
	       !pool_is_bad(np, start, ALIGN(offset + size, SECTOR) - start);
}

/*
 * Clear poison by writing the whole sector: @first is its first byte, @others
 * are all other bytes. A sector without known poison is not written.
 */
static int sector_repair(struct nd_pool *np, u64 offset, u8 first, u8 others)
{
	u8 *bytes;
	int ret;

	if (!pool_is_bad(np, offset, SECTOR))
		return 0;
	bytes = kmalloc(SECTOR, GFP_KERNEL);
	if (!bytes)
		return -ENOMEM;
	memset(bytes, others, SECTOR);
	bytes[0] = first;
	ret = nvdimm_write_bytes(np->ndns, offset, bytes, SECTOR, 0);
	kfree(bytes);
	/*
	 * nvdimm_write_bytes() returns 0 on a platform that cannot clear
	 * poison.
	 */
	return ret ?: pool_is_bad(np, offset, SECTOR) ? -EIO : 0;
}

/**
 * nd_pool_zero() - fill data with zeroes, which become persistent with the next fence
 * @np: the pool
 * @offset: first byte, aligned to a frame
 * @size: in bytes, a multiple of the size of a frame
 *
 * Clears poison where the platform can.
 *
 * Context: task; may sleep.
 *
 * Return: 0; -EIO if a sector is still bad; -ENOMEM
 */
int nd_pool_zero(struct nd_pool *np, u64 offset, u64 size)
{
	u64 at;
	int ret;

	if (unlikely(pool_is_bad(np, offset, size)))
		for (at = offset; at < offset + size; at += SECTOR) {
			ret = sector_repair(np, at, 0, 0);
			if (ret)
				return ret;
		}
	memset(np->data + offset, 0, size);
	pool_write_back(np, np->data + offset, size);
	return 0;
}

/**
 * nd_pool_repair_rows() - make allocation bits readable, before they are swept
 * @np: the pool
 * @first: first frame
 * @nr: number of frames
 *
 * Writes bits that say that all frames are allocated. A sector has the bits of
 * several children, of which some may not be swept yet.
 *
 * Context: task; may sleep.
 *
 * Return: 0; -EIO if a sector is still bad; -EROFS if the pool is read-only;
 *	-ENOMEM
 */
int nd_pool_repair_rows(struct nd_pool *np, unsigned long first, unsigned long nr)
{
	const u64 end = LLFREE_POOL_ROWS + DIV_ROUND_UP(first + nr, BITS_PER_BYTE);
	u64 at = ALIGN_DOWN(LLFREE_POOL_ROWS + first / BITS_PER_BYTE, SECTOR);
	int ret = READ_ONCE(np->core.read_only) ? -EROFS : 0;

	for (; at < end && !ret; at += SECTOR)
		ret = sector_repair(np, at, 0xff, 0xff);
	return ret;
}

/* ---- sysfs ---- */

/* Return the pool of a namespace. */
static struct nd_pool *dev_pool(struct device *dev)
{
	return dev_get_drvdata(dev);
}

static ssize_t state_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	const struct llfree_pool *core = &dev_pool(dev)->core;

	return sysfs_emit(buf, "%s\n", READ_ONCE(core->read_only) ? "read-only" :
			  READ_ONCE(core->bad_rows) ? "degraded" : "active");
}
static DEVICE_ATTR_RO(state);

static ssize_t uuid_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%pUb\n", dev_pool(dev)->core.uuid);
}
static DEVICE_ATTR_RO(uuid);

static ssize_t session_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%llu\n", dev_pool(dev)->core.session);
}
static DEVICE_ATTR_RO(session);

static ssize_t frames_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	const struct llfree_pool *core = &dev_pool(dev)->core;

	return sysfs_emit(buf, "%lu\n", core->frames - core->first);
}
static DEVICE_ATTR_RO(frames);

static ssize_t free_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct llfree_pool_stats stats;

	llfree_pool_stats(&dev_pool(dev)->core, &stats);
	return sysfs_emit(buf, "%lu\n", stats.free);
}
static DEVICE_ATTR_RO(free);

static ssize_t huge_free_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	struct llfree_pool_stats stats;

	llfree_pool_stats(&dev_pool(dev)->core, &stats);
	return sysfs_emit(buf, "%lu\n", stats.free_huge);
}
static DEVICE_ATTR_RO(huge_free);

static ssize_t bad_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%ld\n", atomic_long_read(&dev_pool(dev)->nr_bad_frames));
}
static DEVICE_ATTR_RO(bad);

static ssize_t bad_rows_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%lu\n", READ_ONCE(dev_pool(dev)->core.bad_rows));
}
static DEVICE_ATTR_RO(bad_rows);

static const char *persistence_name(const struct nd_pool *np)
{
	static const char * const names[] = {
		[ND_POOL_SURVIVES_RESET] = "unknown",
		[ND_POOL_WRITE_BACK] = "memory_controller",
		[ND_POOL_FENCE] = "cpu_cache",
	};

	return names[nd_pool_persistence(np)];
}

static ssize_t persistence_show(struct device *dev, struct device_attribute *attr,
				char *buf)
{
	return sysfs_emit(buf, "%s\n", persistence_name(dev_pool(dev)));
}
static DEVICE_ATTR_RO(persistence);

static ssize_t recovery_us_show(struct device *dev, struct device_attribute *attr,
				char *buf)
{
	return sysfs_emit(buf, "%llu\n", dev_pool(dev)->recovery_us);
}
static DEVICE_ATTR_RO(recovery_us);

static struct attribute *pool_attributes[] = {
	&dev_attr_state.attr,
	&dev_attr_uuid.attr,
	&dev_attr_session.attr,
	&dev_attr_frames.attr,
	&dev_attr_free.attr,
	&dev_attr_huge_free.attr,
	&dev_attr_bad.attr,
	&dev_attr_bad_rows.attr,
	&dev_attr_persistence.attr,
	&dev_attr_recovery_us.attr,
	NULL
};

static const struct attribute_group pool_group = {
	.name = "pool",
	.attrs = pool_attributes,
};

static const struct attribute_group *pool_groups[] = {
	&pool_group,
	NULL
};

/* ---- Attach and detach ---- */

/* Register the uuid, unless another pool has the same one. */
static int pool_register(struct nd_pool *np, const u8 uuid[16])
{
	struct nd_pool *other;
	int ret = 0;

	mutex_lock(&pools_lock);
	list_for_each_entry(other, &pools, node)
		if (!memcmp(other->uuid, uuid, sizeof(other->uuid)))
			ret = -EEXIST;
	if (!ret) {
		memcpy(np->uuid, uuid, sizeof(np->uuid));
		list_add(&np->node, &pools);
	}
	mutex_unlock(&pools_lock);
	return ret;
}

static void pool_unregister(struct nd_pool *np)
{
	mutex_lock(&pools_lock);
	list_del(&np->node);
	mutex_unlock(&pools_lock);
}

static void pool_free_memory(struct nd_pool *np)
{
	nd_pool_lossy_stop(np);
	vfree(np->locals);
	vfree(np->mem.trees);
	vfree(np->mem.children);
	vfree(np->mem.rows);
}

static int pool_alloc_memory(struct nd_pool *np, const struct llfree_pool_super *super)
{
	const int nid = dev_to_node(np->dev.parent);
	int ret = llfree_pool_layout(super, nr_cpu_ids, &np->mem);

	if (ret)
		return ret;
	np->mem.rows = vzalloc_node(np->mem.rows_size, nid);
	np->mem.children = vzalloc_node(np->mem.children_size, nid);
	np->mem.trees = vzalloc_node(np->mem.trees_size, nid);
	np->locals = vzalloc_node(nr_cpu_ids * sizeof(*np->locals), nid);
	ret = np->mem.rows && np->mem.children && np->mem.trees && np->locals ? 0 : -ENOMEM;
	if (!ret && lossy)
		ret = nd_pool_lossy_start(np, llfree_pool_first(super->frames) <<
					  LLFREE_POOL_FRAME_SHIFT);
	if (ret)
		pool_free_memory(np);
	return ret;
}

/* Clear poison in the sectors that attaching rewrites. */
static int repair_header(struct nd_pool *np)
{
	return sector_repair(np, LLFREE_POOL_SUPER, 0, 0) ?:
	       sector_repair(np, LLFREE_POOL_COPY, 0, 0) ?:
	       sector_repair(np, LLFREE_POOL_STATE, LLFREE_POOL_DIRTY, 0);
}

static int pool_attach(struct nd_pool *np)
{
	const ktime_t start = ktime_get();
	int ret;

	ret = repair_header(np);
	if (ret && ret != -EIO)
		return ret;
	/*
	 * Attach read-only if a sector is still bad, since it cannot be
	 * written.
	 */
	np->medium.read_only = ret;
	ret = llfree_pool_attach(&np->core, &np->medium, &np->mem, np->locals, nr_cpu_ids);
	np->recovery_us = ktime_us_delta(ktime_get(), start);
	if (ret)
		return ret;
	dev_info(np->dev.parent, "pool %pUb: session %llu, %s in %llu us, %s\n",
		 np->core.uuid, np->core.session,
		 np->core.was_dirty ? "recovered" : "attached", np->recovery_us,
		 nd_pool_persistence(np) == ND_POOL_SURVIVES_RESET ?
		 "survives reset and kexec; power loss unknown" : "survives power loss");
	if (np->lossy)
		dev_warn(np->dev.parent, "pool: loses what was not written back\n");
	if (np->medium.read_only)
		dev_err(np->dev.parent, "pool: metadata cannot be written, the pool is read-only\n");
	if (np->core.bad_rows)
		dev_warn(np->dev.parent, "pool: %lu lines of allocation bits are bad\n",
			 np->core.bad_rows);
	if (np->core.rows_damaged)
		dev_warn(np->dev.parent, "pool: allocation bits changed while detached\n");
	return 0;
}

/*
 * Free a pool after the last file is closed. Not before, since a late open()
 * still checks whether @dax is alive.
 */
static void pool_release(struct device *dev)
{
	struct nd_pool *np = container_of(dev, struct nd_pool, dev);

	if (!IS_ERR_OR_NULL(np->dax))
		put_dax(np->dax);
	xa_destroy(&np->bad_frames);
	kfree(np);
}

static int pool_bind(struct nd_pool *np, const struct llfree_pool_super *super)
{
	int ret;

	np->dax = alloc_dax(np, NULL);
	if (IS_ERR(np->dax))
		return PTR_ERR(np->dax);
	ret = pool_register(np, super->uuid);
	if (ret)
		goto err_dax;
	ret = pool_alloc_memory(np, super);
	if (ret)
		goto err_register;
	ret = pool_attach(np);
	if (ret)
		goto err_memory;
	dev_set_drvdata(np->dev.parent, np);
	ret = nd_pool_add_device(np);
	if (ret)
		goto err_attach;
	return 0;

err_attach:
	llfree_pool_detach(&np->core);
err_memory:
	pool_free_memory(np);
err_register:
	pool_unregister(np);
err_dax:
	kill_dax(np->dax);
	return ret;
}

static const char *why_not(int error)
{
	switch (error) {
	case -EIO:
		return "metadata is damaged";
	case -EMEDIUMTYPE:
		return "other byte order, or frames of another size";
	case -EPROTONOSUPPORT:
		return "unknown version or flags";
	case -ENOSPC:
		return "the namespace is smaller than the pool was";
	case -EEXIST:
		return "a pool with this uuid is attached";
	case -EOPNOTSUPP:
		return "the namespace is not aligned";
	case -EINVAL:
		return "flushes are asynchronous";
	case -EROFS:
		return "the region is read-only";
	default:
		return "no resources";
	}
}

/*
 * Is there a pool that can be attached? Map only the first bytes of the
 * namespace.
 */
static int pool_probe_super(struct device *dev, struct nd_pool *np,
			    struct llfree_pool_super *super)
{
	int ret;

	ret = devm_namespace_enable(dev, np->ndns, PAGE_ALIGN(PROBE_SIZE));
	if (ret)
		return ret;
	np->medium.base = to_nd_namespace_io(&np->ndns->dev)->addr;
	ret = llfree_pool_probe(&np->medium, super);
	devm_namespace_disable(dev, np->ndns);
	if (ret)
		return ret;
	if (!is_nvdimm_sync(np->region))
		return -EINVAL;
	return np->region->ro ? -EROFS : 0;
}

static int nd_pool_probe(struct device *dev)
{
	struct llfree_pool_super super;
	struct nd_namespace_common *ndns;
	struct nd_pool *np;
	int ret;

	if (is_nd_btt(dev) || is_nd_pfn(dev) || is_nd_dax(dev))
		return -ENODEV;
	ndns = nvdimm_namespace_common_probe(dev);
	if (IS_ERR(ndns))
		return PTR_ERR(ndns);
	np = kzalloc(sizeof(*np), GFP_KERNEL);
	if (!np)
		return -ENOMEM;
	device_initialize(&np->dev);
	np->dev.parent = dev;
	np->dev.release = pool_release;
	np->ndns = ndns;
	np->region = to_nd_region(dev->parent);
	mutex_init(&np->users_lock);
	xa_init(&np->bad_frames);
	np->medium = (struct llfree_pool_medium) {
		.size = nvdimm_namespace_capacity(ndns),
		.write_back = medium_write_back,
		.fence = medium_fence,
		.read = medium_read,
	};

	ret = np->medium.size < LLFREE_POOL_MIN_SIZE ? -ENODEV :
	      pool_probe_super(dev, np, &super);
	if (ret)
		goto err;
	ret = devm_namespace_enable(dev, ndns, np->medium.size);
	if (ret)
		goto err;
	np->data = to_nd_namespace_io(&ndns->dev)->addr;
	np->pfn = PHYS_PFN(to_nd_namespace_io(&ndns->dev)->res.start);
	np->medium.base = np->data;
	ret = pool_bind(np, &super);
	if (ret)
		goto err;
	return 0;

err:
	if (ret != -ENODEV)
		dev_err(dev, "pool not attached: %s (%d)\n", why_not(ret), ret);
	put_device(&np->dev);
	return ret;
}

/* Stop all changes of the namespace, and leave the pool clean. */
static void pool_stop(struct nd_pool *np)
{
	nd_pool_revoke(np);
	llfree_pool_detach(&np->core);
	nvdimm_flush(np->region, NULL);
}

static void nd_pool_remove(struct device *dev)
{
	struct nd_pool *np = dev_pool(dev);

	nd_pool_del_device(np);
	pool_stop(np);
	pool_free_memory(np);
	pool_unregister(np);
	put_device(&np->dev);
}

static void nd_pool_shutdown(struct device *dev)
{
	pool_stop(dev_pool(dev));
}

/* Were all rows of a sector already unreadable when the pool was attached? */
static bool rows_were_bad(struct nd_pool *np, u64 at)
{
	const unsigned long end = (at + SECTOR - LLFREE_POOL_ROWS) * BITS_PER_BYTE;
	unsigned long frame = (at - LLFREE_POOL_ROWS) * BITS_PER_BYTE;

	for (; frame < end; frame = llfree_next_child(frame))
		if (frame >= np->core.first && frame < np->core.frames &&
		    !llfree_pool_rows_bad(&np->core, frame))
			return false;
	return true;
}

/* Is there poison in rows that were readable, and so are in use? */
static bool rows_are_bad(struct nd_pool *np)
{
	const u64 size = ALIGN(llfree_pool_rows_size(np->core.frames), SECTOR);
	u64 at;

	if (!pool_is_bad(np, LLFREE_POOL_ROWS, size))
		return false;
	for (at = LLFREE_POOL_ROWS; at < LLFREE_POOL_ROWS + size; at += SECTOR)
		if (pool_is_bad(np, at, SECTOR) && !rows_were_bad(np, at))
			return true;
	return false;
}

/*
 * Handle new poison. Poison in metadata that was readable before makes the pool
 * read-only.
 */
static void nd_pool_notify(struct device *dev, enum nvdimm_event event)
{
	struct nd_pool *np = dev_pool(dev);
	struct nd_namespace_io *nsio = to_nd_namespace_io(&np->ndns->dev);
	struct range range = {
		.start = nsio->res.start,
		.end = nsio->res.end,
	};

	if (event != NVDIMM_REVALIDATE_POISON)
		return;
	nvdimm_badblocks_populate(np->region, &nsio->bb, &range);
	if (pool_is_bad(np, 0, LLFREE_POOL_ROWS) || rows_are_bad(np)) {
		llfree_pool_set_read_only(&np->core);
		dev_err(dev, "pool: metadata is bad, the pool is read-only\n");
	}
	sysfs_notify(&dev->kobj, "pool", "state");
}

static struct nd_device_driver nd_pool_driver = {
	.probe = nd_pool_probe,
	.remove = nd_pool_remove,
	.notify = nd_pool_notify,
	.shutdown = nd_pool_shutdown,
	.drv = {
		.name = "nd_pool",
		.dev_groups = pool_groups,
	},
	.type = ND_DRIVER_NAMESPACE_IO | ND_DRIVER_NAMESPACE_PMEM,
};

static int __init nd_pool_init(void)
{
	int ret = nd_pool_dev_init();

	if (ret)
		return ret;
	ret = nd_driver_register(&nd_pool_driver);
	if (ret)
		nd_pool_dev_exit();
	return ret;
}
module_init(nd_pool_init);

static void __exit nd_pool_exit(void)
{
	driver_unregister(&nd_pool_driver.drv);
	nd_pool_dev_exit();
}
module_exit(nd_pool_exit);

MODULE_ALIAS_ND_DEVICE(ND_DEVICE_NAMESPACE_IO);
MODULE_ALIAS_ND_DEVICE(ND_DEVICE_NAMESPACE_PMEM);
MODULE_DESCRIPTION("Pools of page frames in persistent memory");
MODULE_LICENSE("GPL");
