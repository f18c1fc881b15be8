#!/bin/bash
# Remove the local cluster of kind-up.sh with everything in it.
set -euo pipefail
case "${LOCAL_CLUSTER:-kind}" in
  kind) kind delete cluster --name groot-ray ;;
  minikube) minikube delete -p groot-ray ;;
  *) echo "kind-down: LOCAL_CLUSTER is kind or minikube" >&2; exit 2 ;;
esac
