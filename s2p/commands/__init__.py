"""Subcommands of ``s2p`` beyond predicting and looking: one module a subject, each with ``add(subparsers)``.

Nothing heavy is imported at the top of these modules: ``s2p --help`` loads them all.
"""
