#!/bin/bash
# Start a local cluster with KubeRay 1.5.1 for the demo: kind, or minikube with LOCAL_CLUSTER=minikube.
# Not run yet: the machine of this project's results can run neither.
# usage: k8s/kind-up.sh          (make kind-up)
set -euo pipefail
cd "$(dirname "$0")/.."
KUBERAY=${KUBERAY_VERSION:-1.5.1}
PATH=$PWD/.tools:$PATH
need() { command -v "$1" >/dev/null || { echo "kind-up: $1 is missing; $2" >&2; exit 1; }; }
need helm "fetch it with python k8s/get_tools.py"
need kubectl "fetch it with python k8s/get_tools.py"

case "${LOCAL_CLUSTER:-kind}" in
  kind)
    need kind "see https://kind.sigs.k8s.io/docs/user/quick-start/#installation"
    kind get clusters | grep -qx groot-ray || kind create cluster --config k8s/kind.yaml --wait 120s
    ;;
  minikube)
    need minikube "see https://minikube.sigs.k8s.io/docs/start/"
    # calico: minikube's own network ignores NetworkPolicies
    minikube status -p groot-ray >/dev/null 2>&1 || minikube start -p groot-ray --cpus=2 --memory=8g --cni=calico --kubernetes-version=v1.34.0
    ;;
  *) echo "kind-up: set LOCAL_CLUSTER to kind or minikube" >&2; exit 2 ;;
esac
helm upgrade --install kuberay-operator kuberay-operator --repo https://ray-project.github.io/kuberay-helm/ --version "$KUBERAY" \
  --namespace ray-system --create-namespace --wait --timeout 5m
echo "The cluster is up. Next: make images, then make k8s-demo (IMAGE_LOAD=\"$([ "${LOCAL_CLUSTER:-kind}" = kind ] && echo "kind load image-archive --name groot-ray" || echo "minikube -p groot-ray image load")\")"
