#!/usr/bin/env bash
# What the tests of the hospital room talk to, in one folder, nothing installed: Orthanc with DICOMweb, dcmtk and dicom3tools from
# Debian's packages (root is not needed), dcmqi and roc-validator from PyPI. What cannot be had is named and its tests skip.
# usage: tools.sh DIR
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mkdir -p "$1" && cd "$1" && pwd)
wanted=(orthanc orthanc-dicomweb dcmtk dicom3tools)

debian() {
    command -v apt-get >/dev/null && command -v dpkg >/dev/null || { echo "no apt-get here"; return 1; }
    apt-cache show orthanc >/dev/null 2>&1 || apt-get update -qq || return 1
    # With what they need and this system lacks; those that lie in apt's cache, too, and the wanted ones if they are installed.
    local names
    names=$(apt-get install --simulate --no-install-recommends "${wanted[@]}" | awk '/^Inst/ {print $2}')
    mkdir -p "$dir/debs"
    (cd "$dir/debs" && apt-get download -qq $(printf '%s\n' $names "${wanted[@]}" | sort -u)) || return 1
    mkdir -p "$dir/unpacked.part"
    for deb in "$dir"/debs/*.deb; do dpkg -x "$deb" "$dir/unpacked.part"; done
    mv "$dir/unpacked.part" "$dir/unpacked"
    rm -rf "$dir/debs"
}

pypi() {
    "${PYTHON:-python3}" -m venv "$dir/python" &&
        "$dir/python/bin/pip" install --quiet --disable-pip-version-check -r "$here/tools.txt" && touch "$dir/python/ready"
}

[ -d "$dir/unpacked" ] || debian 2>"$dir/debian.log" || { tail -3 "$dir/debian.log"; echo "no Orthanc, dciodvfy: Debian's packages cannot be had"; }
[ -f "$dir/python/ready" ] || pypi 2>"$dir/pypi.log" || { tail -3 "$dir/pypi.log"; echo "no dcmqi, roc-validator: PyPI does not answer"; }
