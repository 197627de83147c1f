# PYTHON: any Python 3.11 to 3.13. VENV: where the environment goes; nothing is installed elsewhere.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# pip without the start-up notice about its own version.
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# One light installation, one for development: each marks what it installed, and is redone when
# the dependencies change.
LIGHT := $(VENV)/.light
FULL := $(VENV)/.full

.DEFAULT_GOAL := demo
.PHONY: help kiosk languages demo test test-device lint docs bench lab soak report-picture kiosk-film demo-profile test-slide schemas \
  lock newest audit sbom deb image clean

# What stands after `## ` on a target's line is what `make help` says of it.
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

kiosk: $(LIGHT) ## serve the kiosk's page on the simulated microscope
	$(PIP) install --editable ".[kiosk]"
	$(BIN)/edgehemo kiosk --source simulated:

languages: $(FULL) ## bring the kiosk's language files up to date
	$(BIN)/python -m edgehemo_export.languages

demo: $(LIGHT) ## screen a simulated slide with the light installation, and name the report
	$(BIN)/edgehemo demo

# Everything, the host's part too. On a GPU-less machine PyTorch's CPU build is smaller:
# see CONTRIBUTING.md.
test: $(FULL) ## run the tests (installs PyTorch and all else into .venv); real parts: make lab
	$(BIN)/python -m pytest -m "not lab"

# The light part alone, as a device has it: no PyTorch is needed or installed.
test-device: $(LIGHT) ## run the tests of the device's part, without PyTorch
	$(PIP) install --editable ".[test]"
	$(BIN)/python -m pytest -m "not host and not lab"

lint: $(VENV)/.lint ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation, into site/. A dangling reference fails; nothing is fetched when it is read.
docs: $(VENV)/.docs ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean --quiet
	$(BIN)/python -m docs.generation.offline site
	@echo "documentation: site/index.html"

bench: $(LIGHT) ## time each stage of a screening on this machine
	$(BIN)/edgehemo bench

# Real parts: a browser, cameras, the service manager. What is missing is installed where we may.
lab: $(FULL) ## test on real parts: a browser, cameras, the service manager
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	  || command -v google-chrome >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y chromium; } \
	  || echo "no chromium: the browser's tests will be skipped; apt-get install chromium"
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y postgresql; } \
	  || echo "no PostgreSQL: the laboratory's tests on it will be skipped; apt-get install postgresql"
	@command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] \
	  || { [ "$$(id -u)" = 0 ] && apt-get update -qq && apt-get install -qq -y mosquitto; } \
	  || echo "no Mosquitto: the tests of kiosks' health will be skipped; apt-get install mosquitto"
	$(BIN)/python -m pytest tests/lab

# Killed, two at once, a full disk, hostile input: for five minutes together; then an installed
# kiosk under systemd, for a quarter of an hour; then the program on emulated 64-bit ARM, for some
# minutes. The small disk, the kiosk and ARM need root, and are left out without it.
soak: $(FULL) ## attack the program and an installed kiosk, run it on ARM, and keep the figures
	PYTHONPATH=$(CURDIR):$(CURDIR)/benchmarks $(BIN)/python -m soak --seconds 300 --out benchmarks/soak/results.json
	PYTHONPATH=$(CURDIR):$(CURDIR)/benchmarks $(BIN)/python -m soak.device --out benchmarks/soak/device.json
	PYTHONPATH=$(CURDIR):$(CURDIR)/benchmarks $(BIN)/python -m soak.arm64 --out benchmarks/soak/arm64.json

# docs/pages/images/report.png: the report of the demonstration, photographed in a browser.
report-picture: $(LIGHT) ## photograph the demonstration's report for the README
	$(BIN)/edgehemo demo --out runs/report-picture
	$(BIN)/python tests/lab/browser.py runs/report-picture/report.html docs/pages/images/report.png

# docs/pages/images/kiosk.webp: a sample at the kiosk, on the simulated microscope, by touch.
kiosk-film: $(FULL) ## film a sample at the kiosk for the README
	$(BIN)/python -m tests.lab.kiosk_film docs/pages/images/kiosk.webp

# The profile of the simulated microscope that the demonstration uses; simulated, and marked so.
demo-profile: $(LIGHT) ## fit the demonstration's calibration profile anew
	rm -rf runs/demo-profile runs/simulated-profile.json
	$(BIN)/python -m edgehemo.demo.demonstration runs/demo-profile
	$(BIN)/edgehemo calibrate scale --um-per-px 0.2 --uncertainty 0.001 \
	  --microscope "simulated microscope" --camera simulated --out runs/simulated-profile.json
	$(BIN)/edgehemo calibrate analyser --images runs/demo-profile \
	  --pairs runs/demo-profile/pairs.csv --out runs/simulated-profile.json
	cp runs/simulated-profile.json edgehemo/data/simulated-profile.json

# firmware_config/edgehemo_firmware/slide/expected.json: what a new version must find on a device.
test-slide: $(LIGHT) ## write down what the stored test slide gives with the bundle that ships
	$(BIN)/python -m edgehemo_firmware.stored_slide

schemas: $(FULL) ## make the JSON Schemas of all files and outputs from the records
	$(BIN)/python -m edgehemo.schemas
	$(BIN)/python -m edgehemo_calibration.schemas
	$(BIN)/python -m edgehemo_export.schemas
	$(BIN)/python -m edgehemo_firmware.schemas
	$(BIN)/python -m edgehemo_laboratory.schemas

# A disk that starts by UEFI, with the kiosk installed: root, mmdebstrap, dosfstools and mtools. Its
# parts: make image PARTS="debian_pc usb_eyepiece touch_10_1280x800"; no boards' firmware is in it,
# for a Raspberry Pi see firmware_config/rpi_image_gen/.
PARTS ?= debian_pc touch_7_800x480
image: $(LIGHT) ## make build/image/edgehemo.img, a disk with the kiosk installed (root)
	$(PIP) install --editable ".[kiosk]"
	$(BIN)/python -m edgehemo_firmware.image build/image $(PARTS)

# What ships to devices. UPGRADE=1 takes the newest that the bounds of pyproject.toml allow.
lock: $(VENV)/.supply ## remake the lock of what ships to devices
	$(BIN)/python -m edgehemo_firmware.dependencies.lock $(if $(UPGRADE),--upgrade)

# Run it before a release and when a library moves: it says what is newer, and whether that works.
newest: $(VENV)/.supply ## run a device's tests with the newest of everything, past the bounds
	$(BIN)/python -m edgehemo_firmware.dependencies.newest build/newest

# It asks OSV, else the package index; OSV_URL: a server of OSV's interface of one's own.
audit: $(VENV)/.supply ## look for known weaknesses in what ships; fails where it cannot ask
	$(BIN)/python -m edgehemo_firmware.dependencies.audit $(if $(OSV_URL),--osv-url $(OSV_URL))

# TARGET: x86_64 or aarch64, and Python 3.11 to 3.13.
TARGET ?= aarch64-3.13
sbom: $(VENV)/.supply ## write the bill of materials of a device (CycloneDX) into build/
	$(BIN)/python -m edgehemo_firmware.dependencies.sbom $(TARGET) --out build/edgehemo-$(TARGET).cdx.json

# It carries the wheels of the lock, signed; KEY: a private key [default: this user's]. WITHOUT:
# runtimes to leave out, such as WITHOUT="openvino tflite".
deb: $(VENV)/.supply ## make a Debian package that installs with no network, into build/
	$(BIN)/python -m edgehemo_firmware.update.debian_package --target $(TARGET) --out build \
	  $(if $(KEY),--key $(KEY)) $(foreach each,$(WITHOUT),--without $(each))

clean: ## remove what was built and run; the environment stays
	rm -rf build dist site runs edgehemo-demo .mypy_cache .ruff_cache .hypothesis .benchmarks
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) \
	  else "edgehemo needs Python 3.11 to 3.13; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

# Metadata of an earlier installation, left in this folder, would hide the entry points of this one.
$(LIGHT): pyproject.toml | $(BIN)/python
	@rm -rf *.egg-info
	$(PIP) install --editable .
	touch $@

$(VENV)/.lint: $(FULL)
	$(PIP) install --editable ".[lint]"
	touch $@

$(VENV)/.supply: $(LIGHT)
	$(PIP) install --editable ".[supply]"
	touch $@

$(VENV)/.docs: $(LIGHT)
	$(PIP) install --editable ".[docs]"
	touch $@

$(FULL): pyproject.toml | $(BIN)/python
	@echo "installing PyTorch and the rest of the workstation's part; this takes minutes"
	@rm -rf *.egg-info
	$(PIP) install --editable ".[host,test]"
	touch $@
