# Both images from one file: docker buildx bake -f images/docker-bake.hcl
# Variables as for `make images`: WHEELS is a folder of wheels; the files PIP_CONF and CA_BUNDLE become build secrets.
variable "VERSION" { default = "0.1.0" }
variable "REVISION" { default = "" }
variable "REPOSITORY" { default = "localhost/groot-ray" }
variable "BASE_IMAGE" { default = "python:3.11-slim" }
variable "PIP_INDEX_URL" { default = "" }
variable "PIP_EXTRA_INDEX_URL" { default = "" }
variable "TORCH_INDEX_URL" { default = "" }
variable "TORCH" { default = "torch==2.13.0" }
variable "WHEELS" { default = "images" } # a folder without wheels
variable "PIP_CONF" { default = "" }
variable "CA_BUNDLE" { default = "" }

group "default" { targets = ["data", "train"] }

target "common" {
  context = "."
  dockerfile = "Dockerfile"
  contexts = { wheels = WHEELS }
  secret = compact([
    PIP_CONF != "" ? "id=pip_conf,src=${PIP_CONF}" : "",
    CA_BUNDLE != "" ? "id=ca,src=${CA_BUNDLE}" : "",
  ])
  args = {
    VERSION = VERSION
    REVISION = REVISION
    BASE_IMAGE = BASE_IMAGE
    PIP_INDEX_URL = PIP_INDEX_URL
    PIP_EXTRA_INDEX_URL = PIP_EXTRA_INDEX_URL
  }
}

target "data" {
  inherits = ["common"]
  target = "data"
  tags = ["${REPOSITORY}:${VERSION}-data"]
}

target "train" {
  inherits = ["common"]
  target = "train"
  args = { TORCH_INDEX_URL = TORCH_INDEX_URL, TORCH = TORCH }
  tags = ["${REPOSITORY}:${VERSION}-train"]
}
