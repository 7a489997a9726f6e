# SPDX-License-Identifier: GPL-2.0
"""Import a program of scripts/, whose file name has no suffix."""

import importlib.machinery
import importlib.util

from llfree.paths import SCRIPTS


def load(name):
    loader = importlib.machinery.SourceFileLoader(name, f"{SCRIPTS}/{name}")
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module
