# SPDX-License-Identifier: GPL-2.0
"""Let a guest's program import scripts/llfree, which guests and the host share."""

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
