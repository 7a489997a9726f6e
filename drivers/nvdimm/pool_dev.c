// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pools of page frames in persistent memory: the character device, /dev/ndpoolN.
 *
 * include/uapi/linux/nd_pool.h has the interface. A program maps its blocks by
 * mmap(). Page faults map frames that are allocated, 2 MiB at once if all of
 * the 2 MiB are. Metadata is never mapped.
 *
 * A block is unmapped before it is free. Faults hold the invalidate_lock of the
 * mapping shared, and frees hold it exclusively. So no fault maps a frame after
 * the frame is free. All mappings of a pool belong to the inode of its
 * dax_device, and all operations are in dax_read_lock(), so that kill_dax()
 * ends them.
 *
 * Closing the last file frees all blocks that are not committed, like a crash.
 */
#include <linux/cdev.h>
#include <linux/dax.h>
#include <linux/fs.h>
#include <linux/huge_mm.h>
#include <linux/idr.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/pfn_t.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <uapi/linux/nd_pool.h>

#include "../dax/dax-private.h"
#include "pool.h"

/* Number of device numbers, and so largest number of pools */
#define MAX_POOLS	256
/* Blocks, and words of rows, that a call copies at once */
#define BLOCKS_BATCH	64U
#define ROWS_BATCH	(PAGE_SIZE / sizeof(u64))
/* Blocks with poison that an allocation puts aside before it gives up */
#define MAX_BAD		64

#define POOL_FRAME_SIZE	BIT_ULL(LLFREE_POOL_FRAME_SHIFT)

static dev_t pool_devt;
static DEFINE_IDA(pool_ida);

static const struct class pool_class = {
	.name = "ndpool",
};

static u64 block_offset(u64 block)
{
	return block & ~ND_POOL_ORDER_MASK;
}

static unsigned int block_order(u64 block)
{
	return block & ND_POOL_ORDER_MASK;
}

static u64 order_size(unsigned int order)
{
	return POOL_FRAME_SIZE << order;
}

static struct address_space *pool_mapping(const struct nd_pool *np)
{
	return dax_inode(np->dax)->i_mapping;
}

/* ---- Mappings ---- */

static vm_fault_t pool_huge_fault(struct vm_fault *vmf, unsigned int order)
{
	struct vm_area_struct *vma = vmf->vma;
	struct nd_pool *np = vma->vm_private_data;
	const unsigned long addr = vmf->address & (PAGE_MASK << order);
	const unsigned long pgoff = vma->vm_pgoff + ((addr - vma->vm_start) >> PAGE_SHIFT);
	const unsigned long pages = 1UL << order, pfn = np->pfn + pgoff;
	const unsigned int frames = PAGE_SHIFT - LLFREE_POOL_FRAME_SHIFT;
	vm_fault_t ret = order ? VM_FAULT_FALLBACK : VM_FAULT_SIGBUS;
	int id;

	if (addr < vma->vm_start || addr + (pages << PAGE_SHIFT) > vma->vm_end ||
	    !IS_ALIGNED(pfn, pages))
		return VM_FAULT_FALLBACK;
	id = dax_read_lock();
	if (!dax_alive(np->dax)) {
		dax_read_unlock(id);
		return VM_FAULT_SIGBUS;
	}
	filemap_invalidate_lock_shared(pool_mapping(np));
	if (llfree_pool_is_allocated(&np->core, pgoff << frames, pages << frames)) {
		if (!order)
			ret = vmf_insert_pfn(vma, addr, pfn);
#ifdef CONFIG_ARCH_SUPPORTS_PMD_PFNMAP
		else if (order == PMD_ORDER)
			ret = vmf_insert_pfn_pmd(vmf, __pfn_to_pfn_t(pfn, PFN_DEV),
						 vmf->flags & FAULT_FLAG_WRITE);
#endif
	}
	filemap_invalidate_unlock_shared(pool_mapping(np));
	dax_read_unlock(id);
	return ret;
}

static vm_fault_t pool_fault(struct vm_fault *vmf)
{
	return pool_huge_fault(vmf, 0);
}

static const struct vm_operations_struct pool_vm_ops = {
	.fault = pool_fault,
#ifdef CONFIG_ARCH_SUPPORTS_HUGE_PFNMAP
	.huge_fault = pool_huge_fault,
#endif
};

static int pool_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct nd_pool *np = file->private_data;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_pgoff + vma_pages(vma) < vma->vm_pgoff ||
	    vma->vm_pgoff + vma_pages(vma) > PHYS_PFN(np->medium.size))
		return -ENXIO;
	vm_flags_set(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = np;
	vma->vm_ops = &pool_vm_ops;
	return 0;
}

/* The caller holds the invalidate_lock. */
static void pool_unmap(struct nd_pool *np, u64 offset, u64 size)
{
	unmap_mapping_range(pool_mapping(np), offset, size, 1);
}

/* ---- Blocks ---- */

/*
 * Note a bad frame. A frame that a sweep has freed can be noted a second time.
 */
static void note_bad(struct nd_pool *np, unsigned long frame)
{
	void *old = xa_store(&np->bad_frames, frame, xa_mk_value(0), GFP_KERNEL);

	if (!old || xa_is_err(old))
		atomic_long_inc(&np->nr_bad_frames);
}

/* Free the good frames of a block with poison. */
static void split_bad(struct nd_pool *np, unsigned long frame, unsigned int order)
{
	unsigned long at;

	for (at = frame; at < frame + (1UL << order); at++)
		if (nd_pool_zero(np, (u64)at << LLFREE_POOL_FRAME_SHIFT, POOL_FRAME_SIZE) == -EIO)
			note_bad(np, at);
		else
			llfree_pool_free(&np->core, at, 0);
}

/*
 * Allocate a block and zero its memory. Frames whose poison cannot be cleared
 * stay allocated.
 */
static long alloc_zeroed(struct nd_pool *np, unsigned int order)
{
	unsigned int bad;
	long frame;
	int ret;

	if (order > LLFREE_MAX_ORDER)
		return -EINVAL;
	for (bad = 0; bad < MAX_BAD; bad++) {
		frame = llfree_pool_alloc(&np->core, order);
		if (frame < 0)
			return frame;
		ret = nd_pool_zero(np, (u64)frame << LLFREE_POOL_FRAME_SHIFT, order_size(order));
		if (!ret)
			return frame;
		if (ret != -EIO) {
			llfree_pool_free(&np->core, frame, order);
			return ret;
		}
		split_bad(np, frame, order);
	}
	return -EIO;
}

/*
 * The functions for batches return how many of the blocks are done, from the
 * first one on, or an error if none are.
 */
static long free_blocks(struct nd_pool *np, const u64 *blocks, unsigned int nr)
{
	unsigned int i;
	long done;

	filemap_invalidate_lock(pool_mapping(np));
	for (i = 0; i < nr; i++)
		if (block_order(blocks[i]) <= LLFREE_MAX_ORDER)
			pool_unmap(np, block_offset(blocks[i]),
				   order_size(block_order(blocks[i])));
	done = llfree_pool_free_batch(&np->core, blocks, nr);
	filemap_invalidate_unlock(pool_mapping(np));
	return done;
}

/* Allocate blocks. With @commit, free the blocks that cannot be committed. */
static long alloc_blocks(struct nd_pool *np, u64 *blocks, unsigned int nr, bool commit)
{
	long frame = 0, done;
	unsigned int i, order;

	for (i = 0; i < nr; i++) {
		order = block_order(blocks[i]);
		frame = alloc_zeroed(np, order);
		if (frame < 0)
			break;
		blocks[i] = (u64)frame << LLFREE_POOL_FRAME_SHIFT | order;
	}
	if (!i || !commit)
		return i ? (long)i : frame;
	done = llfree_pool_commit_batch(&np->core, blocks, i);
	if (done < i)
		free_blocks(np, blocks + max(done, 0L), i - max(done, 0L));
	return done;
}

static long do_batch(struct nd_pool *np, unsigned int cmd, u64 *blocks, unsigned int nr,
		     bool commit)
{
	long done;

	/* The CPU that began a write-back has to wait for the write-back. */
	migrate_disable();
	if (cmd == ND_POOL_ALLOC)
		done = alloc_blocks(np, blocks, nr, commit);
	else if (cmd == ND_POOL_COMMIT)
		done = llfree_pool_commit_batch(&np->core, blocks, nr);
	else
		done = free_blocks(np, blocks, nr);
	llfree_pool_sync(&np->core);
	migrate_enable();
	return done;
}

static long pool_blocks(struct nd_pool *np, unsigned int cmd, void __user *argp)
{
	u64 blocks[BLOCKS_BATCH], __user *user;
	struct nd_pool_blocks arg;
	unsigned int done = 0, nr;
	long ret = 0;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	if (arg.flags & ~(cmd == ND_POOL_ALLOC ? ND_POOL_COMMITTED : 0) || arg.nr > INT_MAX)
		return -EINVAL;
	user = u64_to_user_ptr(arg.blocks);
	while (done < arg.nr) {
		nr = min(arg.nr - done, BLOCKS_BATCH);
		if (copy_from_user(blocks, user + done, nr * sizeof(*blocks))) {
			ret = -EFAULT;
			break;
		}
		ret = do_batch(np, cmd, blocks, nr, arg.flags & ND_POOL_COMMITTED);
		if (ret <= 0)
			break;
		if (cmd == ND_POOL_ALLOC &&
		    copy_to_user(user + done, blocks, ret * sizeof(*blocks))) {
			/* The program does not get the blocks, so free them. */
			do_batch(np, ND_POOL_FREE, blocks, ret, false);
			ret = -EFAULT;
			break;
		}
		done += ret;
		if (ret < nr || fatal_signal_pending(current))
			break;
		cond_resched();
	}
	if (done)
		return done;
	return ret;
}

/* ---- Roots ---- */

static long pool_root(struct nd_pool *np, unsigned int cmd, void __user *argp)
{
	struct nd_pool_root arg;
	int ret = 0;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	if (arg.pad || arg.index >= LLFREE_POOL_NR_ROOTS)
		return -EINVAL;
	if (!nd_pool_can_read(np, LLFREE_POOL_ROOTS + arg.index * sizeof(u64), sizeof(u64)))
		return -EIO;
	migrate_disable();
	if (cmd == ND_POOL_GET_ROOT)
		arg.value = llfree_pool_root(&np->core, arg.index);
	else
		ret = llfree_pool_root_cas(&np->core, arg.index, &arg.value, arg.next);
	migrate_enable();
	return copy_to_user(argp, &arg, sizeof(arg)) ? -EFAULT : ret;
}

/* ---- Rows ---- */

static int get_rows(struct nd_pool *np, unsigned long first, u64 *rows, unsigned int nr)
{
	unsigned long frame = first;
	unsigned int i;

	for (i = 0; i < nr; i++, frame += LLFREE_ROW_FRAMES) {
		if (!llfree_pool_rows_bad(&np->core, frame) &&
		    !nd_pool_can_read(np, LLFREE_POOL_ROWS + frame / BITS_PER_BYTE,
				      sizeof(*rows)))
			return -EIO;
		rows[i] = llfree_pool_committed(&np->core, frame);
	}
	return 0;
}

static int sweep_rows(struct nd_pool *np, unsigned long first, const u64 *live,
		      unsigned int nr, struct llfree_pool_swept *swept)
{
	const unsigned long frames = min(nr * LLFREE_ROW_FRAMES, np->core.frames - first);
	int ret;

	ret = nd_pool_repair_rows(np, first, frames);
	if (ret)
		return ret;
	filemap_invalidate_lock(pool_mapping(np));
	pool_unmap(np, (u64)first << LLFREE_POOL_FRAME_SHIFT,
		   (u64)frames << LLFREE_POOL_FRAME_SHIFT);
	migrate_disable();
	ret = llfree_pool_sweep(&np->core, first, frames, live, swept);
	migrate_enable();
	filemap_invalidate_unlock(pool_mapping(np));
	return ret;
}

/*
 * Return the number of rows for one batch. A batch ends with a child, since
 * rows that could not be read are swept by child.
 */
static unsigned int rows_batch(unsigned long frame, u64 nr)
{
	const unsigned long end = ALIGN_DOWN(frame + ROWS_BATCH * LLFREE_ROW_FRAMES,
					     LLFREE_CHILD_FRAMES);

	return min_t(u64, nr, (end - frame) / LLFREE_ROW_FRAMES);
}

static long pool_rows(struct nd_pool *np, unsigned int cmd, void __user *argp)
{
	struct llfree_pool_swept swept = { };
	struct nd_pool_rows arg;
	u64 *rows, __user *user, done;
	unsigned long first, frame;
	unsigned int nr;
	int ret = 0;

	if (copy_from_user(&arg, argp, sizeof(arg)))
		return -EFAULT;
	first = arg.offset >> LLFREE_POOL_FRAME_SHIFT;
	if (!IS_ALIGNED(arg.offset, LLFREE_ROW_FRAMES * POOL_FRAME_SIZE) ||
	    first < np->core.first || first > np->core.frames ||
	    arg.nr > DIV_ROUND_UP(np->core.frames - first, LLFREE_ROW_FRAMES))
		return -EINVAL;
	rows = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!rows)
		return -ENOMEM;
	user = u64_to_user_ptr(arg.rows);
	for (done = 0; done < arg.nr && !ret; done += nr) {
		frame = first + done * LLFREE_ROW_FRAMES;
		nr = rows_batch(frame, arg.nr - done);
		if (cmd == ND_POOL_SWEEP) {
			if (copy_from_user(rows, user + done, nr * sizeof(*rows)))
				ret = -EFAULT;
			else
				ret = sweep_rows(np, frame, rows, nr, &swept);
		} else {
			ret = get_rows(np, frame, rows, nr);
			if (!ret && copy_to_user(user + done, rows, nr * sizeof(*rows)))
				ret = -EFAULT;
		}
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	kfree(rows);
	arg.freed = swept.freed;
	arg.missing = swept.missing;
	if (cmd == ND_POOL_SWEEP && copy_to_user(argp, &arg, sizeof(arg)))
		ret = -EFAULT;
	return ret;
}

/*
 * Sweep while nothing else allocates or frees: one file is open, and users_lock
 * keeps others from being opened.
 */
static long pool_sweep(struct nd_pool *np, void __user *argp)
{
	long ret = -EBUSY;

	mutex_lock(&np->users_lock);
	if (np->users == 1)
		ret = pool_rows(np, ND_POOL_SWEEP, argp);
	mutex_unlock(&np->users_lock);
	return ret;
}

/* ---- The file ---- */

static long pool_info(struct nd_pool *np, void __user *argp)
{
	const struct llfree_pool *core = &np->core;
	struct llfree_pool_stats stats;
	struct nd_pool_info info = {
		.size = (u64)core->frames << LLFREE_POOL_FRAME_SHIFT,
		.first = (u64)core->first << LLFREE_POOL_FRAME_SHIFT,
		.session = core->session,
		.bad_rows = READ_ONCE(core->bad_rows),
		.bad_frames = atomic_long_read(&np->nr_bad_frames),
		.recovery_us = np->recovery_us,
		.persistence = nd_pool_persistence(np),
	};

	llfree_pool_stats(core, &stats);
	info.free = (u64)stats.free << LLFREE_POOL_FRAME_SHIFT;
	info.free_huge = (u64)stats.free_huge * LLFREE_CHILD_FRAMES * POOL_FRAME_SIZE;
	if (core->was_dirty)
		info.flags |= ND_POOL_WAS_DIRTY;
	if (core->rows_damaged)
		info.flags |= ND_POOL_ROWS_DAMAGED;
	if (READ_ONCE(core->read_only))
		info.flags |= ND_POOL_READ_ONLY;
	memcpy(info.uuid, core->uuid, sizeof(info.uuid));
	return copy_to_user(argp, &info, sizeof(info)) ? -EFAULT : 0;
}

static long do_ioctl(struct file *file, unsigned int cmd, void __user *argp)
{
	struct nd_pool *np = file->private_data;

	switch (cmd) {
	case ND_POOL_INFO:
		return pool_info(np, argp);
	case ND_POOL_GET_ROOT:
		return pool_root(np, cmd, argp);
	case ND_POOL_GET_ROWS:
		return pool_rows(np, cmd, argp);
	}
	if (!(file->f_mode & FMODE_WRITE))
		return -EBADF;
	switch (cmd) {
	case ND_POOL_ALLOC:
	case ND_POOL_COMMIT:
	case ND_POOL_FREE:
		return pool_blocks(np, cmd, argp);
	case ND_POOL_CAS_ROOT:
		return pool_root(np, cmd, argp);
	case ND_POOL_SWEEP:
		return pool_sweep(np, argp);
	}
	return -ENOTTY;
}

static long pool_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct nd_pool *np = file->private_data;
	const int id = dax_read_lock();
	long ret = -ENXIO;

	if (dax_alive(np->dax))
		ret = do_ioctl(file, cmd, (void __user *)arg);
	dax_read_unlock(id);
	return ret;
}

static int pool_open(struct inode *inode, struct file *file)
{
	struct nd_pool *np = container_of(inode->i_cdev, struct nd_pool, cdev);
	const int id = dax_read_lock();
	int ret = -ENXIO;

	mutex_lock(&np->users_lock);
	if (dax_alive(np->dax)) {
		/*
		 * The open file pins the device, which pins the inode of the
		 * mapping.
		 */
		np->users++;
		file->private_data = np;
		file->f_mapping = pool_mapping(np);
		ret = 0;
	}
	mutex_unlock(&np->users_lock);
	dax_read_unlock(id);
	return ret;
}

static int pool_close(struct inode *inode, struct file *file)
{
	struct nd_pool *np = file->private_data;
	const int id = dax_read_lock();

	mutex_lock(&np->users_lock);
	if (!--np->users && dax_alive(np->dax)) {
		/* A read-only pool keeps its frames allocated. */
		if (llfree_pool_reclaim(&np->core) >= 0) {
			xa_destroy(&np->bad_frames);
			atomic_long_set(&np->nr_bad_frames, 0);
		}
	}
	mutex_unlock(&np->users_lock);
	dax_read_unlock(id);
	return 0;
}

static const struct file_operations pool_fops = {
	.owner = THIS_MODULE,
	.open = pool_open,
	.release = pool_close,
	.unlocked_ioctl = pool_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = pool_mmap,
	.get_unmapped_area = thp_get_unmapped_area,
	.llseek = noop_llseek,
};

/* ---- The device ---- */

/**
 * nd_pool_add_device() - add the character device of a pool
 * @np: the pool, which is attached
 *
 * Return: 0 or an error
 */
int nd_pool_add_device(struct nd_pool *np)
{
	int minor, ret;

	minor = ida_alloc_max(&pool_ida, MAX_POOLS - 1, GFP_KERNEL);
	if (minor < 0)
		return minor;
	np->dev.class = &pool_class;
	np->dev.devt = MKDEV(MAJOR(pool_devt), minor);
	ret = dev_set_name(&np->dev, "ndpool%d", minor);
	if (!ret) {
		cdev_init(&np->cdev, &pool_fops);
		np->cdev.owner = THIS_MODULE;
		ret = cdev_device_add(&np->cdev, &np->dev);
	}
	if (ret)
		ida_free(&pool_ida, minor);
	return ret;
}

/**
 * nd_pool_revoke() - end all use of a pool
 * @np: the pool
 *
 * Files may stay open, and mappings may stay; operations on them fail.
 *
 * Context: task; sleeps until operations that are under way have ended.
 */
void nd_pool_revoke(struct nd_pool *np)
{
	kill_dax(np->dax);
	pool_unmap(np, 0, 0);
}

/**
 * nd_pool_del_device() - remove the character device of a pool
 * @np: the pool, which stays until all files are closed
 */
void nd_pool_del_device(struct nd_pool *np)
{
	const int minor = MINOR(np->dev.devt);

	cdev_device_del(&np->cdev, &np->dev);
	ida_free(&pool_ida, minor);
}

int __init nd_pool_dev_init(void)
{
	int ret = class_register(&pool_class);

	if (ret)
		return ret;
	ret = alloc_chrdev_region(&pool_devt, 0, MAX_POOLS, "ndpool");
	if (ret)
		class_unregister(&pool_class);
	return ret;
}

void nd_pool_dev_exit(void)
{
	unregister_chrdev_region(pool_devt, MAX_POOLS);
	class_unregister(&pool_class);
	ida_destroy(&pool_ida);
}
