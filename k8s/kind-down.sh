#!/bin/bash
# Delete the local cluster of kind-up.sh and everything in it.
set -euo pipefail
case "${LOCAL_CLUSTER:-kind}" in
  kind) kind delete cluster --name groot-ray ;;
  minikube) minikube delete -p groot-ray ;;
  *) echo "kind-down: set LOCAL_CLUSTER to kind or minikube" >&2; exit 2 ;;
esac
