#!/usr/bin/env bash
# Build the enclave image twice, compare the measurements, print them. Needs docker with buildkit, nitro-cli and jq.
#   enclave/build.sh BASE_IMAGE@sha256:DIGEST CONFIGURATION OUTPUT.eif
# BASE_IMAGE is a Python image of 3.11 or later; CONFIGURATION is a path inside the checkout. Spec: docs/enclave.md.
set -euo pipefail

usage() { echo "usage: enclave/build.sh IMAGE@sha256:DIGEST CONFIGURATION OUTPUT.eif" >&2; exit 2; }
[ $# -eq 3 ] || usage
base_image=$1 configuration=$2 output=$3
cd "$(dirname "$0")/.."

# 1. A name can be moved to another image, a digest cannot.
[[ $base_image =~ ^[a-z0-9./_:-]+@sha256:[0-9a-f]{64}$ ]] || { echo "refused: the base image has no digest" >&2; exit 1; }
[ -f "$configuration" ] || { echo "refused: no configuration at $configuration" >&2; exit 1; }
# 2. What is built is what is committed.
[ -z "$(git status --porcelain)" ] || { echo "refused: the checkout has changes" >&2; exit 1; }
# 3. The time in every layer is the commit's, not the clock's.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

build() { # tag, eif
  docker buildx build --no-cache --provenance=false --platform linux/amd64 \
    --build-arg "BASE_IMAGE=$base_image" --build-arg "CONFIGURATION=$configuration" --build-arg SOURCE_DATE_EPOCH \
    --output "type=docker,name=$1,rewrite-timestamp=true" --file enclave/Dockerfile . >&2
  nitro-cli build-enclave --docker-uri "$1" --output-file "$2"
}

# 4. Twice from nothing: an image that cannot be built again cannot be checked by anybody.
first=$(build pcrgate-enclave:first "$output" | jq -S .Measurements)
again=$(build pcrgate-enclave:again "$output.again" | jq -S .Measurements)
rm -f "$output.again"
[ "$first" = "$again" ] || { echo "refused: two builds have different measurements" >&2; exit 1; }
echo "$first"
