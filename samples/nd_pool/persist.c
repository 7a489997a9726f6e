// SPDX-License-Identifier: GPL-2.0
/*
 * Write back cache lines of persistent memory.
 *
 * A thread that moves to another CPU between write_back() and fence() loses nothing: a
 * context switch waits as a fence does.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "persist.h"

static uintptr_t line_size;
static bool skip;

#if defined(__x86_64__)
#include <cpuid.h>

enum instruction { CLFLUSH, CLFLUSHOPT, CLWB };
static enum instruction instruction;

static void cpu_init(void)
{
	unsigned int eax, ebx = 0, ecx, edx;

	line_size = 64;
	if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
		ebx = 0;
	instruction = ebx & bit_CLWB ? CLWB : ebx & bit_CLFLUSHOPT ? CLFLUSHOPT : CLFLUSH;
}

static void line_write_back(const char *line)
{
	switch (instruction) {
	case CLWB:
		asm volatile("clwb %0" : : "m" (*line) : "memory");
		break;
	case CLFLUSHOPT:
		asm volatile("clflushopt %0" : : "m" (*line) : "memory");
		break;
	case CLFLUSH:
		asm volatile("clflush %0" : : "m" (*line) : "memory");
		break;
	}
}

static void cpu_fence(void)
{
	asm volatile("sfence" : : : "memory");
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

static bool has_dcpop;

static void cpu_init(void)
{
	unsigned long ctr;

	asm volatile("mrs %0, ctr_el0" : "=r" (ctr));
	line_size = 4UL << ((ctr >> 16) & 15);
	/* HWCAP_DCPOP */
	has_dcpop = getauxval(AT_HWCAP) & (1UL << 16);
}

static void line_write_back(const char *line)
{
	/* dc cvap, encoded for assemblers that do not know it */
	if (has_dcpop)
		asm volatile("sys #3, c7, c12, #1, %0" : : "r" (line) : "memory");
	else
		asm volatile("dc cvac, %0" : : "r" (line) : "memory");
}

static void cpu_fence(void)
{
	asm volatile("dsb sy" : : : "memory");
}
#else
#error "How does this architecture write back a cache line from a program?"
#endif

void persist_init(bool caches_persist)
{
	cpu_init();
	skip = caches_persist;
}

void write_back(const void *start, size_t size)
{
	const uintptr_t end = (uintptr_t)start + size;
	uintptr_t at = (uintptr_t)start & ~(line_size - 1);

	if (skip)
		return;
	for (; at < end; at += line_size)
		line_write_back((const char *)at);
}

void fence(void)
{
	cpu_fence();
}
