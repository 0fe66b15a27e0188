#!/usr/bin/env bash
# `make demo` in a fresh clone of this repository's last commit; its results and its last screen are copied to var/proofs/demo.
set -euo pipefail
root=$PWD
folder=$(mktemp -d "${TMPDIR:-/tmp}/connected-cars-XXXXXX")
trap 'rm -rf "$folder"' EXIT
git clone --quiet "$root" "$folder/clone"
status=0
make -C "$folder/clone" demo || status=$?
mkdir -p var/proofs/demo
cp "$folder"/clone/var/demo/*.json "$folder"/clone/var/demo/screen.svg var/proofs/demo/
exit $status
