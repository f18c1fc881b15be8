# Kubernetes: images, a local cluster, the demo, tests. Included by the Makefile.
IMAGE_LOAD ?=
export CONTAINER_TOOL IMAGE_LOAD BASE_IMAGE TORCH TORCH_INDEX_URL WHEELS PIP_CONF CA_BUNDLE MINIO_IMAGE

.PHONY: images images-load tools kind-up kind-down k8s-demo test-cluster test-cluster-here test-cluster-faults chart

##@ Kubernetes

tools: ## fetch helm and kubectl into .tools
	@$(PYTHON) k8s/get_tools.py > /dev/null

images: tools ## build the images data and train with docker or podman (CONTAINER_TOOL)
	@$(PYTHON) k8s/images.py build

images-load: ## put the images on the nodes of the current cluster (IMAGE_LOAD="kind load image-archive --name groot-ray")
	@$(PYTHON) k8s/images.py load

kind-up: tools ## a local cluster with KubeRay: kind, or LOCAL_CLUSTER=minikube
	@k8s/kind-up.sh

kind-down: ## remove the local cluster
	@k8s/kind-down.sh

k8s-demo: ## the demo experiment on the cluster of the current context (images loaded, `make venv` done)
	@$(BIN)/python k8s/demo.py $(DEMO_ARGS)

test-cluster-here: venv-dev ## make test-cluster on a cluster started for it, where ../shared/cluster is beside the checkout
	@PYTHON=$(BIN)/python k8s/test_here.sh core

test-cluster: ## the core of the tests on the cluster of KUBECONFIG, with images loaded by IMAGE_LOAD
	@test -n "$$KUBECONFIG" || { echo "make: KUBECONFIG names no cluster (make test-cluster-here starts one for the tests)" >&2; exit 1; }
	@$(BIN)/python -m pytest tests/on_cluster -m "not faults" -p no:cacheprovider

test-cluster-faults: ## the long tests on a cluster: pods, heads, nodes and storage are killed and cut off
	@test -n "$$KUBECONFIG" || { echo "make: KUBECONFIG names no cluster (make test-cluster-here starts one for the tests)" >&2; exit 1; }
	@$(BIN)/python -m pytest tests/on_cluster -m "faults" -p no:cacheprovider

chart: venv-dev tools ## write the chart's generated files
	@$(BIN)/python charts/generate.py
	@(sed -n '/^#/p;/^---/q' k8s/demo-manifests.yaml; .tools/helm template demo charts/groot-experiment -n groot-demo --no-hooks -f k8s/demo.yaml) > k8s/demo-manifests.new
	@mv k8s/demo-manifests.new k8s/demo-manifests.yaml
