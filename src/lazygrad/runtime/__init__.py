"""The runtime: slots of leaves, buffers, the plan cache and the tiers that run a plan. Imports nothing above it."""
