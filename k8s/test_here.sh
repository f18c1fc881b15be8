#!/bin/bash
# The cluster tests on a cluster that is made for them on this machine, where ../shared/cluster is beside the checkout.
# usage: k8s/test_here.sh [demo|core|faults]        (needs root; PYTHON is the interpreter of the virtual environment)
#   demo     the demo from helm install to the end, users' mistakes and static mode, on one node: what .ci/run runs, a quarter of an hour with the images
#   core     everything but the faults, with two GPU nodes        faults   pods, heads, nodes and storage are killed and cut off
# Builds both images, starts Kubernetes with KubeRay, loads the images, runs the tests and stops the cluster again (KEEP=1 leaves it).
# Exit code 3: no cluster or no image can be made on this machine, which says nothing about the code.
set -euo pipefail
cd "$(dirname "$0")/.."
HERE=$(cd .. && pwd)/shared/cluster
unable() { echo "test_here: $*" >&2; exit 3; }
[ -x "$HERE/cluster" ] || unable "there is no ../shared/cluster beside this checkout: use make test-cluster with a cluster of your own"
[ "$(id -u)" = 0 ] || unable "a cluster on this machine needs root"
PYTHON=${PYTHON:-.venv/bin/python}
nodes=() tests=(tests/on_cluster) marks="not faults"
case "${1:-core}" in
  demo) tests=(tests/on_cluster/test_demo.py tests/on_cluster/test_mistakes.py tests/on_cluster/test_modes.py::test_static_pods_are_scaled_by_the_job) ;;
  core) nodes=(--gpu-nodes 2) ;;
  faults) nodes=(--gpu-nodes 2) marks="faults" ;;
  *) echo "usage: k8s/test_here.sh [demo|core|faults]" >&2; exit 2 ;;
esac
export CONTAINER_TOOL=$HERE/podman IMAGE_LOAD="$HERE/cluster load" FAULTS=$HERE/cluster MINIO_IMAGE=quay.io/minio/minio:latest
[ -n "${KEEP:-}" ] || trap '"$HERE/cluster" down >/dev/null 2>&1 || true' EXIT
"$HERE/cluster" up --kuberay "${nodes[@]}" || unable "no cluster can be started on this machine"
empty=$(mktemp -d)
printf 'FROM python:3.11-slim\nRUN python3 --version\n' >"$empty/Dockerfile"
"$HERE/podman" build -q -t localhost/probe "$empty" >/dev/null || unable "no image can be built on this machine"
rm -r "$empty"
"$PYTHON" k8s/get_tools.py >/dev/null
"$PYTHON" k8s/images.py build
"$PYTHON" k8s/images.py load
IMAGE_LOAD='' "$HERE/cluster" exec "$(realpath -s "$PYTHON")" -m pytest "${tests[@]}" -m "$marks" -p no:cacheprovider
