#!/bin/sh
# Sets everything up and runs all tests: lint, import layers, unit tests (those of the GPU too), doctests, examples.
extras=test; . "$(dirname "$0")/environment.sh"
. scripts/vulkan.sh
.venv/bin/ruff check src tests examples benchmarks tools
.venv/bin/lint-imports --no-cache
exec .venv/bin/python -m pytest -n auto "$@"
