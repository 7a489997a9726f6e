# SPDX-License-Identifier: GPL-2.0
#
# Compile a real C program in the guest: the kernel's own kconfig parser. The kernel's
# build system would need minutes under emulation.
#
#	make -f kconfig.mk -C EMPTY-DIR LINUX=SOURCE-TREE [check]

LINUX	?= $(error say where the kernel source is: LINUX=)
KCONFIG	:= $(LINUX)/scripts/kconfig
OPT	:= -O2
CFLAGS	:= $(OPT) -Wall -D_GNU_SOURCE -I. -I$(KCONFIG) -I$(LINUX)/scripts/include
VPATH	:= $(KCONFIG)

OBJS	:= conf.o confdata.o expr.o menu.o preprocess.o symbol.o util.o \
	   lexer.lex.o parser.tab.o
TESTS	:= alldef allmod allno allyes

conf: $(OBJS)
	$(CC) $(CFLAGS) -o $@ $^

lexer.lex.c: lexer.l
	flex -o $@ -L $<

parser.tab.c parser.tab.h &: parser.y
	bison -o parser.tab.c --defines=parser.tab.h -t -l $<

$(OBJS): parser.tab.h

# The program must work, too: compare its output, below 4 header lines, with the output
# that the kernel's own tests expect.
check: $(TESTS:%=check-%)

check-%: conf
	srctree=$(KCONFIG)/tests/choice CONFIG_=CONFIG_ \
		KCONFIG_CONFIG=$*.config ./conf -s --$*config Kconfig
	tail -n +5 $*.config | diff $(KCONFIG)/tests/choice/$*_expected_config -

.PHONY: check
.DELETE_ON_ERROR:
