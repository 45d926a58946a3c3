#!/bin/sh
# Puts a Linux guest together from Debian's packages: FOLDER/vmlinuz and FOLDER/initrd.gz. Nothing is installed.
#   sh tools/linux-guest.sh FOLDER CONSOLE       CONSOLE: docs/examples/linux-guest/console.c, linked statically
#
# The kernel is the one for clouds: small, with the drivers that QEMU's machines need; keyboard and serial port are
# built in, evdev is a module. All else is busybox.
set -eu
folder=$1
console=$2
here=$(dirname "$0")

sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo

fail() {
    echo "linux-guest: $*" >&2
    exit 1
}

# The package that linux-image-cloud-amd64 stands for today.
kernel_package() {
    apt-cache show --no-all-versions linux-image-cloud-amd64 2>/dev/null | sed -n 's/^Depends: \([^ ,]*\).*/\1/p'
}

fetch() { # into the present folder
    kernel=$(kernel_package)
    [ -n "$kernel" ] && apt-get download -q -o APT::Sandbox::User=root "$kernel" busybox-static >apt.log 2>&1
}

# Lists that are old name packages that are gone.
fetch_all() {
    fetch && return
    echo "linux-guest: the lists of packages are renewed"
    $sudo apt-get update -qq >>apt.log 2>&1 || fail "apt-get update: $(tail -n 1 apt.log); as root, run it by hand"
    fetch || fail "the packages linux-image-cloud-amd64 and busybox-static cannot be fetched: $(tail -n 1 apt.log)"
}

# What is wanted of the packages, without their folders.
unpack() {
    rm -rf "$folder/packages" "$folder/parts"
    mkdir -p "$folder/packages" "$folder/parts"
    (cd "$folder/packages" && fetch_all) || exit 1
    for package in "$folder"/packages/*.deb; do
        dpkg-deb --fsys-tarfile "$package" |
            tar -x -C "$folder/parts" --wildcards --transform 's|.*/||' --no-same-owner \
                './boot/vmlinuz-*' '*/drivers/input/evdev.ko' './bin/busybox' 2>"$folder/packages/tar.log" || true
    done
    for part in vmlinuz-* evdev.ko busybox; do
        set -- "$folder/parts/"$part
        [ -f "$1" ] || fail "there is no $part in the packages: $(ls "$folder/packages" | tr '\n' ' ')"
    done
    mv "$folder"/parts/vmlinuz-* "$folder/parts/vmlinuz"
    rm -rf "$folder/packages"
}

# The kernel last: it says that all is there.
assemble() {
    rm -rf "$folder/initramfs"
    mkdir -p "$folder/initramfs/bin" "$folder/initramfs/lib" "$folder/initramfs/dev" "$folder/initramfs/proc" "$folder/initramfs/sys"
    cp "$folder/parts/busybox" "$console" "$folder/initramfs/bin"
    cp "$folder/parts/evdev.ko" "$folder/initramfs/lib"
    cp "$here/../docs/examples/linux-guest/init" "$folder/initramfs/init"
    chmod 755 "$folder/initramfs/init"
    (cd "$folder/initramfs" && find . | ./bin/busybox cpio -o -H newc 2>/dev/null) | gzip >"$folder/initrd.gz"
    cp "$folder/parts/vmlinuz" "$folder/vmlinuz"
    chmod 644 "$folder/vmlinuz" "$folder/initrd.gz"
    rm -rf "$folder/initramfs"
}

for tool in apt-get apt-cache dpkg-deb; do
    command -v $tool >/dev/null || fail "it is made of Debian's packages, which takes $tool"
done
[ -f "$folder/parts/vmlinuz" ] || unpack
assemble
