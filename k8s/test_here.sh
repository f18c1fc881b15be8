#!/bin/bash
# The cluster tests on a cluster that is made for them on this machine, where ../shared/cluster is beside the checkout.
# usage: k8s/test_here.sh [core|faults]        (needs root; PYTHON is the interpreter of the virtual environment)
# Starts Kubernetes with KubeRay and two GPU nodes, builds both images, loads them, runs the tests and stops the cluster again (KEEP=1 leaves it).
set -euo pipefail
cd "$(dirname "$0")/.."
HERE=$(cd .. && pwd)/shared/cluster
[ -x "$HERE/cluster" ] || { echo "test_here: there is no ../shared/cluster beside this checkout: use make test-cluster with a cluster of your own" >&2; exit 3; }
PYTHON=${PYTHON:-.venv/bin/python}
case "${1:-core}" in core) marks="not faults" ;; faults) marks="faults" ;; *) echo "usage: k8s/test_here.sh [core|faults]" >&2; exit 2 ;; esac
export CONTAINER_TOOL=$HERE/podman IMAGE_LOAD="$HERE/cluster load" FAULTS=$HERE/cluster MINIO_IMAGE=quay.io/minio/minio:latest
"$PYTHON" k8s/get_tools.py >/dev/null
"$PYTHON" k8s/images.py build
"$HERE/cluster" up --kuberay --gpu-nodes 2
[ -n "${KEEP:-}" ] || trap '"$HERE/cluster" down' EXIT
"$PYTHON" k8s/images.py load
IMAGE_LOAD='' "$HERE/cluster" exec "$(realpath -s "$PYTHON")" -m pytest tests/on_cluster -m "$marks" -p no:cacheprovider
