/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A reference for placements: frames always come from the child that has the
 * fewest free ones.
 */
#ifndef BESTFIT_H
#define BESTFIT_H

#include <stdbool.h>

int bestfit_init(unsigned long first, unsigned long frames);
void bestfit_claim(unsigned long frame, bool movable);
long bestfit_alloc(unsigned int order, bool movable);
void bestfit_free(unsigned long frame, unsigned int order);

#endif
