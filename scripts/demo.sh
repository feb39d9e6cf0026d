#!/bin/sh
# Sets everything up and runs the main job: a classifier on real images. Results go to out/.
extras=demo; . "$(dirname "$0")/environment.sh"
exec .venv/bin/lazygrad demo --out out "$@"
