#!/bin/busybox sh
# The first program of the initial RAM disk: load the disk drivers, apply the seed at the first boot, start the system.
# /seed holds this device's own files and optionally seed.sh, which runs in the root. It may come from a second archive.
busybox=/bin/busybox

"$busybox" mount -t devtmpfs dev /dev
"$busybox" mount -t proc proc /proc
"$busybox" mount -t sysfs sys /sys
for module in /modules/*; do
    "$busybox" insmod "$module"
done

tries=0
until device=$("$busybox" findfs LABEL=root 2>/dev/null) || [ "$tries" = 200 ]; do
    "$busybox" sleep 0.1
    tries=$((tries + 1))
done
"$busybox" mount -t ext4 -o rw,noatime "$device" /root || exec "$busybox" sh

if [ -d /seed ] && [ ! -e /root/var/lib/misc/seeded ]; then
    "$busybox" cp -a /seed/. /root/
    [ ! -e /root/seed.sh ] || "$busybox" chroot /root /bin/sh /seed.sh
    "$busybox" rm -f /root/seed.sh
    "$busybox" touch /root/var/lib/misc/seeded
fi

"$busybox" mount --move /dev /root/dev
"$busybox" umount /proc /sys
exec "$busybox" switch_root /root /sbin/init
