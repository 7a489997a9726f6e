# SPDX-License-Identifier: GPL-2.0
#
# llpool, with the core of lib/llfree/ as it is in the kernel. tools/mm/Makefile includes
# this; elsewhere:
#
#   make -f llpool.mk [O=DIR] [LINUX=DIR]
#
# LINUX is a kernel tree, for tools/include/.

LLPOOL_DIR := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
LLPOOL_TOP := $(abspath $(LLPOOL_DIR)/../..)
# In a kernel tree with the series applied, that tree has them.
LINUX ?= $(if $(wildcard $(LLPOOL_TOP)/Kbuild),$(LLPOOL_TOP),$(LLPOOL_TOP)/build/linux)
O ?= .

LLPOOL_SRC := $(LLPOOL_DIR)/llpool.c $(LLPOOL_DIR)/llpool-medium.c \
	$(LLPOOL_TOP)/tools/testing/llfree/shim.c \
	$(filter-out %/vmcoreinfo.c,$(wildcard $(LLPOOL_TOP)/lib/llfree/*.c))
# The core as its tests build it
LLPOOL_CFLAGS := -std=gnu11 -O2 -g -Wall -Wextra -Werror -Wno-sign-compare -Wno-type-limits \
	-Wno-unused-parameter -Wno-missing-field-initializers -fno-strict-aliasing \
	-D_GNU_SOURCE -I$(LLPOOL_TOP)/tools/testing/llfree/include -I$(LINUX)/tools/include \
	-idirafter $(LLPOOL_TOP)/include -idirafter $(LINUX)/include \
	-iquote $(LLPOOL_TOP)/include/uapi -include linux/kconfig.h

$(O)/llpool: $(LLPOOL_SRC) $(LLPOOL_DIR)/llpool.h $(LLPOOL_DIR)/llpool.mk
	$(CC) $(LLPOOL_CFLAGS) $(CFLAGS) -o $@ $(LLPOOL_SRC)
