#!/bin/sh
# mmdebstrap hooks that turn a minimal Debian into a bare device that accepts SSH logins.
#
#   customize.sh merge ROOT        before unpacking: merge /bin, /sbin and /lib into /usr, as on every machine since Debian 12
#   customize.sh essential ROOT    before the packages are configured: skip the steps that are slowest under emulation
#   customize.sh finish ROOT       after the packages are configured
set -eu

readonly stage="$1" root="$2"

merge() {
    for name in bin sbin lib; do
        mkdir -p "$root/usr/$name"
        ln -s "usr/$name" "$root/$name"
    done
}

essential() {
    # openssh-server generates missing host keys. Each device gets its own later.
    mkdir -p "$root/etc/ssh"
    touch "$root/etc/ssh/ssh_host_rsa_key" "$root/etc/ssh/ssh_host_ecdsa_key" "$root/etc/ssh/ssh_host_ed25519_key"
    # It calls openssl once for each of 140 certificates.
    divert add /usr/sbin/update-ca-certificates
    printf '#!/bin/sh\nexit 0\n' >"$root/usr/sbin/update-ca-certificates"
    chmod 755 "$root/usr/sbin/update-ca-certificates"
}

finish() {
    rm -f "$root"/etc/ssh/ssh_host_*_key "$root/usr/sbin/update-ca-certificates"
    divert remove /usr/sbin/update-ca-certificates
    find "$root/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$root/etc/ssl/certs/ca-certificates.crt"

    chroot "$root" useradd --create-home --shell /bin/bash --groups sudo pi
    chroot "$root" useradd --create-home --shell /bin/bash stranger
    echo 'pi ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/010_pi-nopasswd"
    chmod 440 "$root/etc/sudoers.d/010_pi-nopasswd"

    printf '[Match]\nName=e*\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' >"$root/etc/systemd/network/10-wired.network"
    chroot "$root" systemctl --quiet enable systemd-networkd.service systemd-resolved.service
    chroot "$root" systemctl --quiet mask systemd-networkd-wait-online.service
    printf 'LABEL=root / ext4 noatime,errors=remount-ro 0 1\n' >"$root/etc/fstab"
    mkdir -p "$root/etc/systemd/resolved.conf.d"
    printf '[Resolve]\nLLMNR=no\nMulticastDNS=no\n' >"$root/etc/systemd/resolved.conf.d/10-quiet.conf"
    ln -sf ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
    rm -f "$root/etc/hostname" "$root"/var/cache/apt/archives/*.deb
}

divert() { # add|remove FILE
    chroot "$root" dpkg-divert --quiet --local --rename "--$1" "$2"
}

"$stage"
