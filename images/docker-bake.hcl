# Both images from one file: docker buildx bake -f images/docker-bake.hcl
variable "VERSION" { default = "0.1.0" }
variable "REVISION" { default = "" }
variable "REPOSITORY" { default = "localhost/groot-ray" }
variable "BASE_IMAGE" { default = "python:3.11-slim" }
variable "PIP_INDEX_URL" { default = "" }
variable "TORCH_INDEX_URL" { default = "" }
variable "TORCH" { default = "torch" }

group "default" { targets = ["data", "train"] }

target "common" {
  context = "."
  dockerfile = "Dockerfile"
  args = {
    VERSION = VERSION
    REVISION = REVISION
    BASE_IMAGE = BASE_IMAGE
    PIP_INDEX_URL = PIP_INDEX_URL
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
