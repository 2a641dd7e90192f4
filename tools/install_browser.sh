#!/usr/bin/env bash
# Installs what the tests of the page need beside Python: Chromium with its driver, and node. Without them those
# tests are skipped, so nothing fails here where there is no Debian, or no right to install.
set -euo pipefail
if command -v chromium > /dev/null && command -v chromedriver > /dev/null && command -v node > /dev/null; then exit 0; fi
if ! command -v apt-get > /dev/null || [ "$(id -u)" -ne 0 ]; then
    echo "install_browser.sh: chromium, chromedriver or node are missing; tests of the page will be skipped" >&2
    exit 0
fi
missing=()
command -v chromium > /dev/null || missing+=(chromium)
command -v chromedriver > /dev/null || missing+=(chromium-driver)
command -v node > /dev/null || missing+=(nodejs)
apt-get update -qq || true
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" fonts-dejavu-core > /dev/null ||
    echo "install_browser.sh: ${missing[*]} could not be installed; tests of the page will be skipped" >&2
