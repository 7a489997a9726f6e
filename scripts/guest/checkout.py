# SPDX-License-Identifier: GPL-2.0
"""Lets a program of the guest import what it shares with the host: scripts/llfree."""

import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
