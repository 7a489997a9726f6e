/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The interface of libFuzzer, with names in this project's style. libFuzzer
 * comes with clang, which has no header for it.
 */
#ifndef _LLFREE_TEST_LIBFUZZER_H
#define _LLFREE_TEST_LIBFUZZER_H

#include <linux/types.h>

/* Called once, before all inputs */
int fuzz_init(int *argc, char ***argv) __asm__("LLVMFuzzerInitialize");
/* Called for each input; must return 0 */
int fuzz_input(const u8 *data, size_t size) __asm__("LLVMFuzzerTestOneInput");
/*
 * Called to change an input, which may grow to @max_size. Return: its new size
 */
size_t fuzz_mutate(u8 *data, size_t size, size_t max_size, unsigned int seed)
	__asm__("LLVMFuzzerCustomMutator");
/* libFuzzer's own mutation, for fuzz_mutate() to call */
size_t fuzz_mutate_bytes(u8 *data, size_t size, size_t max_size)
	__asm__("LLVMFuzzerMutate");

#endif /* _LLFREE_TEST_LIBFUZZER_H */
