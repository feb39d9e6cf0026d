from __future__ import annotations


def simplify(roots, caps):
    return roots
