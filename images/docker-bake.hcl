# Container images for each platform. `just build` (images/build.py) fills in the variables that depend on the machine.
#
#   X           for the building platform, to run it right away
#   X-cross     for all its platforms, as one multi-platform image
#   X-bookworm  X on Debian 12 instead of 13
#   validate-X  builds X and runs it

# Versions: tests/images compares each with compat.toml, pyproject.toml and the lock files.
variable "PYTHON" { default = "3.13" }
variable "GLIBC" { default = "2.41" }
variable "BOOKWORM_PYTHON" { default = "3.11" }
variable "BOOKWORM_GLIBC" { default = "2.36" }
variable "MKL_TENSORFLOW" { default = "2.14.0" }
variable "OPENVINO" { default = "2026.4.1" }
variable "NCS2_PYTHON" { default = "3.9" }
variable "NCS2_GLIBC" { default = "2.31" }
variable "NCS2_OPENVINO" { default = "2021.4.2" }
variable "NCS2_ARCHIVE_OPENVINO" { default = "2022.3.2" }

# Upper limit for file times: two builds of the same sources are identical bit for bit.
variable "SOURCE_DATE_EPOCH" { default = "1760000000" }

variable "REGISTRY" { default = "edge-vision" }
variable "TAG" { default = "dev" }
variable "VERSION" { default = "0.0.0" }
variable "REVISION" { default = "unknown" }

# Addresses in the labels, which are left out where they are empty; build.py takes SOURCE from git's remote "origin".
variable "SOURCE" { default = "" }
variable "URL" { default = "" }
variable "DOCUMENTATION" { default = "" }

# Set by build.py: this folder, the folders with rootfs-ARCHITECTURE.tar, libusb's source, pip's wheel, certificates.
variable "IMAGES" { default = "" }
variable "ROOTS" { default = "" }
variable "LIBUSB" { default = "" }
variable "PIP" { default = "" }
variable "CA" { default = "" }
variable "PIP_CONFIG" { default = "" }

# Another base: docker-image://NAME of any image with the same Python and glibc.
variable "BASE" { default = "" }
variable "NCS2_BASE" { default = "" }

# Intel's archive of OpenVINO 2022.3.2 for arm64, for a Neural Compute Stick 2 on a Pi: its folder and its SHA-256.
variable "ARCHIVE" { default = "" }
variable "NCS2_ARCHIVE_SHA256" { default = "" }

# Image that generates software bills of materials; empty for none.
variable "SBOM" { default = "" }

# type=image stores the result in the engine; type=image,push=true also pushes it to the registry.
variable "OUTPUT" { default = "type=image" }

# Compression of layers. Measured on the runner for arm64: level 6, the default, takes 4.0 s and 95.0 MB; 4 takes 2.9 s and
# 96.1 MB; 1 takes 2.0 s and 102.9 MB.
variable "COMPRESSION" { default = "compression-level=4" }

# How wheels are installed: cross, or emulated as a baseline for benchmarks.
variable "WHEELS" { default = "cross" }

group "default" {
  targets = ["runner"]
}

group "all" {
  targets = ["base-cross", "base-bullseye-cross", "train", "runner-cross", "runner-bookworm", "runner-ncs2", "legacy"]
}

group "validate" {
  targets = ["validate-train", "validate-runner", "validate-runner-ncs2"]
}

# Inherited by all images. build.py adds the name and the digest of the base image.
target "_common" {
  output = ["${OUTPUT},${COMPRESSION}"]
  attest = concat(["type=provenance,mode=max"], SBOM != "" ? ["type=sbom,generator=${SBOM}"] : [])
  args = { SOURCE_DATE_EPOCH = SOURCE_DATE_EPOCH }
  labels = {
    "org.opencontainers.image.vendor"        = "The Edge Vision Toolkit authors"
    "org.opencontainers.image.licenses"      = "Apache-2.0"
    "org.opencontainers.image.version"       = VERSION
    "org.opencontainers.image.revision"      = REVISION
    "org.opencontainers.image.created"       = timeadd("1970-01-01T00:00:00Z", "${SOURCE_DATE_EPOCH}s")
    "org.opencontainers.image.source"        = SOURCE != "" ? SOURCE : null
    "org.opencontainers.image.url"           = URL != "" ? URL : SOURCE != "" ? SOURCE : null
    "org.opencontainers.image.documentation" = DOCUMENTATION != "" ? DOCUMENTATION : SOURCE != "" ? "${SOURCE}#readme" : null
  }
}

# Inherited: both platforms.
target "_cross" {
  platforms = ["linux/amd64", "linux/arm64"]
}

# Inherited by images with locked wheels.
target "_wheels" {
  inherits = ["_common"]
  contexts = {
    pip          = PIP
    inside       = "images/inside"
    requirements = "requirements"
  }
  args = {
    PYTHON_VERSION = BOOKWORM_PYTHON
    GLIBC_VERSION  = BOOKWORM_GLIBC
  }
  secret = concat(CA != "" ? ["id=ca,src=${CA}"] : [], PIP_CONFIG != "" ? ["id=pip,src=${PIP_CONFIG}"] : [])
}

# Inherited: device code and wheels on a base.
target "_device" {
  inherits = ["_wheels"]
  context  = "images/runner"
  contexts = {
    device-code = "toolkit/device"
  }
  args = {
    WHEELS       = WHEELS
    REQUIREMENTS = "image-runner.txt"
  }
}

# Inherited: the same for the runtimes of 2021 and 2022.
target "_device-bullseye" {
  inherits = ["_device"]
  contexts = {
    base = NCS2_BASE != "" ? NCS2_BASE : "target:base-bullseye-cross"
  }
  # The same for all, so that legacy-2021 and runner-ncs2 share one stage of wheels. On arm64, OpenVINO comes from Intel's archive.
  args = {
    PYTHON_VERSION     = NCS2_PYTHON
    GLIBC_VERSION      = NCS2_GLIBC
    REQUIREMENTS_ARM64 = "device-archive.txt"
  }
}

# The generator of software bills of materials; `just build` builds it first and names it in SBOM.
target "sbom" {
  inherits = ["_common"]
  context  = "images/sbom"
  contexts = { base = "target:base", inside = "images/inside" }
  tags     = ["${REGISTRY}/sbom:${TAG}"]
  output   = ["type=image"]
  labels = {
    "org.opencontainers.image.title"       = "sbom"
    "org.opencontainers.image.description" = "BuildKit's generator of software bills of materials, for the other images"
  }
}

target "bases" {
  name       = "base${debian.suffix}"
  matrix     = { debian = [{ suite = "trixie", release = "13", suffix = "" }, { suite = "bookworm", release = "12", suffix = "-bookworm" }] }
  inherits   = ["_common"]
  context    = "${ROOTS}/${debian.suite}"
  dockerfile = "${IMAGES}/base/Dockerfile"
  contexts   = { inside = "images/inside" }
  tags       = ["${REGISTRY}/base:${TAG}${debian.suffix}"]
  labels = {
    "org.opencontainers.image.title"       = "base"
    "org.opencontainers.image.description" = "Debian ${debian.release} with Python ${debian.suffix == "" ? PYTHON : BOOKWORM_PYTHON}: unpacked packages, no shell, no package manager"
  }
}

target "bases-cross" {
  name     = "base${suffix}-cross"
  matrix   = { suffix = ["", "-bookworm"] }
  inherits = ["base${suffix}", "_cross"]
}

target "base-bullseye" {
  inherits = ["base"]
  context  = "${ROOTS}/bullseye"
  tags     = ["${REGISTRY}/base:${TAG}-bullseye"]
  labels = {
    "org.opencontainers.image.description" = "Debian 11 with Python ${NCS2_PYTHON}: unpacked packages, no shell, no package manager"
  }
}

target "base-bullseye-cross" {
  inherits = ["base-bullseye", "_cross"]
}

target "runners" {
  name     = "runner${suffix}"
  matrix   = { suffix = ["", "-bookworm"] }
  inherits = ["_device"]
  contexts = { base = BASE != "" ? BASE : "target:base${suffix}-cross" }
  args = {
    PYTHON_VERSION = suffix == "" ? PYTHON : BOOKWORM_PYTHON
    GLIBC_VERSION  = suffix == "" ? GLIBC : BOOKWORM_GLIBC
  }
  tags = ["${REGISTRY}/runner:${TAG}${suffix}"]
  labels = {
    "org.opencontainers.image.title"       = "runner"
    "org.opencontainers.image.description" = "The device code with OpenVINO ${OPENVINO} and LiteRT: probe, verify, golden, bench, predict on a CPU"
  }
}

target "runners-cross" {
  name     = "runner${suffix}-cross"
  matrix   = { suffix = ["", "-bookworm"] }
  inherits = ["runner${suffix}", "_cross"]
}

target "validate-runner" {
  inherits = ["runner"]
  target   = "validate"
  output   = ["type=cacheonly"]
}

# Training: the whole toolkit with the MKL/OpenMP build of TensorFlow, which exists for amd64 and Python 3.11 only.
target "train" {
  inherits  = ["_wheels"]
  context   = "images/train"
  platforms = ["linux/amd64"]
  contexts = {
    base   = "target:base-train"
    code   = "toolkit"
    models = "models"
  }
  args = { REQUIREMENTS = "image-train.txt" }
  tags = ["${REGISTRY}/train:${TAG}"]
  labels = {
    "org.opencontainers.image.title"       = "train"
    "org.opencontainers.image.description" = "The whole toolkit with TensorFlow ${MKL_TENSORFLOW}, built with MKL and OpenMP"
  }
}

target "validate-train" {
  inherits = ["train"]
  target   = "validate"
  output   = ["type=cacheonly"]
}

# Base of train: Debian 12 with a shell, for the devices of the local fleet, and the OpenSSH client.
target "base-train" {
  inherits  = ["base"]
  context   = "${ROOTS}/train"
  platforms = ["linux/amd64"]
  tags      = ["${REGISTRY}/base:${TAG}-train"]
  labels = {
    "org.opencontainers.image.description" = "Debian 12 with Python ${BOOKWORM_PYTHON}, a shell and the OpenSSH client: unpacked packages, no package manager"
  }
}

# For a Neural Compute Stick 2. amd64: OpenVINO's wheel of 2021 has the MYRIAD plugin and the stick's firmware. arm64: Intel's archive.
target "runner-ncs2" {
  inherits  = ["_common"]
  context   = "images/runner-ncs2"
  platforms = ["linux/amd64"]
  contexts = merge(
    {
      plain  = "target:runner-ncs2-plain"
      libusb = "target:libusb"
      base   = NCS2_BASE != "" ? NCS2_BASE : "target:base-bullseye-cross"
      inside = "images/inside"
    },
    ARCHIVE != "" ? { archive = ARCHIVE } : {}
  )
  args = { ARCHIVE_SHA256 = NCS2_ARCHIVE_SHA256 }
  tags = ["${REGISTRY}/runner-ncs2:${TAG}"]
  labels = {
    "org.opencontainers.image.title"       = "runner-ncs2"
    "org.opencontainers.image.description" = "The device code with OpenVINO ${NCS2_OPENVINO} (arm64: ${NCS2_ARCHIVE_OPENVINO}): a CPU or a Neural Compute Stick 2"
  }
}

target "runner-ncs2-cross" {
  inherits = ["runner-ncs2", "_cross"]
}

target "validate-runner-ncs2" {
  inherits = ["runner-ncs2"]
  target   = "validate"
  output   = ["type=cacheonly"]
}

# Base of runner-ncs2: device code and wheels.
target "runner-ncs2-plain" {
  inherits = ["_device-bullseye", "_cross"]
  args     = { REQUIREMENTS = "legacy/2021.txt" }
  output   = ["type=cacheonly"]
}

# libusb without udev, for images that use a Neural Compute Stick 2.
target "libusb" {
  inherits   = ["_cross"]
  context    = "${ROOTS}/toolchain"
  dockerfile = "${IMAGES}/libusb/Dockerfile"
  contexts   = { inside = "images/inside", source = LIBUSB }
  args       = { SOURCE_DATE_EPOCH = SOURCE_DATE_EPOCH }
  output     = ["type=cacheonly"]
}

# Runtimes of old devices, to check how they read a model. They exist for amd64 only.
target "legacy" {
  name      = "legacy-${year}"
  matrix    = { year = ["2021", "2022"] }
  inherits  = ["_device-bullseye"]
  platforms = ["linux/amd64"]
  tags      = ["${REGISTRY}/legacy:${TAG}-${year}"]
  args      = { REQUIREMENTS = "legacy/${year}.txt" }
  labels = {
    "org.opencontainers.image.title"       = "legacy ${year}"
    "org.opencontainers.image.description" = "The device code with the last OpenVINO of ${year}"
  }
}
