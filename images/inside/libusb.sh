#!/usr/bin/env bash
# Build libusb without udev into the folder $1, for TARGETARCH. Runs in the toolchain stage, where no package is configured:
# the links to /bin/sh and awk are created here.
set -euo pipefail

readonly output=$1
case "$TARGETARCH" in
amd64) host=x86_64-linux-gnu ;;
arm64) host=aarch64-linux-gnu ;;
*) echo "libusb: no compiler for $TARGETARCH" >&2 && exit 1 ;;
esac
ln -sf bash /bin/sh
ln -sf mawk /usr/bin/awk

mkdir -p /build
cd /build
tar -xjf /run/source/libusb-1.0_*.orig.tar.bz2 --strip-components=1
version=$(basename /run/source/libusb-1.0_*.dsc .dsc)
./configure --quiet --host="$host" --prefix=/usr --libdir="/usr/lib/$host" --disable-udev --disable-static \
    --disable-dependency-tracking CFLAGS="-O2 -ffile-prefix-map=/build=."
make --silent
make --silent install DESTDIR=/installed

folder=$output/usr/lib/$host
mkdir -p "$folder" "$output/var/lib/dpkg/status.d" "$output/usr/share/doc/libusb-1.0-0"
cp -P /installed/usr/lib/"$host"/libusb-1.0.so.0* "$folder/"
"$host-strip" --strip-unneeded "$folder"/libusb-1.0.so.0.*
cp COPYING "$output/usr/share/doc/libusb-1.0-0/copyright"
# Package record for the bill of materials.
cat >"$output/var/lib/dpkg/status.d/libusb-1.0-0" <<RECORD
Package: libusb-1.0-0
Source: libusb-1.0
Version: 2:${version#libusb-1.0_}+noudev
Architecture: $TARGETARCH
Maintainer: The Edge Vision Toolkit authors
Description: USB from user space, built from Debian's source without udev
RECORD
find "$output" -exec touch --no-dereference --date "@$SOURCE_DATE_EPOCH" {} +
