#!/usr/bin/env bash
# Builds localhost/promet from envs/Containerfile and build/bundle with buildah; the base is made of Debian's packages.
set -euo pipefail
cd "$(dirname "$0")/.."
export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot} STORAGE_DRIVER=${STORAGE_DRIVER:-vfs}
suite=${SUITE:-bookworm}
inputs=$(cat envs/Containerfile envs/install.sh envs/lock.txt <(unzip -p build/bundle/wheels/promet-*.whl | sha256sum) <(echo "$suite") | sha256sum | cut -c 1-16)
if buildah images --quiet "localhost/promet:$inputs" > /dev/null 2>&1; then
    echo "localhost/promet:$inputs is there already"
    exit 0
fi
base="localhost/debian:$suite"
if ! buildah images --quiet "$base" > /dev/null 2>&1; then
    mirror=$(grep -rhom1 'http[^ ]*/debian/\?\b' /etc/apt/sources.list /etc/apt/sources.list.d 2> /dev/null | head -n 1)
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,libgomp1 "$suite" build/base.tar ${mirror:+"$mirror"}
    container=$(buildah from scratch)
    buildah add --quiet "$container" build/base.tar /
    buildah commit --quiet --rm "$container" "$base"
    rm build/base.tar
fi
buildah bud --quiet --build-arg "BASE=$base" --tag "localhost/promet:$inputs" --tag localhost/promet:latest --file envs/Containerfile .
buildah images localhost/promet
