#!/bin/sh
# Move folders to the file system at DATA and bind them to where they were, or remove them from there. /etc/fstab names the mounts.
# Prints what it did; prints nothing if nothing was to be done.
#
#   bind.sh type SOURCE            print the type of the file system of a partition, or of one that is mounted at a folder
#   bind.sh add DATA FOLDER…       what uses a folder is stopped while the folder is moved
#   bind.sh remove DATA FOLDER…
set -eu

readonly units="toolkit-pull.timer toolkit-pull.service toolkit-runner.service docker.socket docker.service containerd.service systemd-timesyncd.service"

verb=$1
data=$2
shift 2

# An error message would count as a type where ssh has a terminal.
type() {
    case $data in
        /) return 1 ;;
        /dev/* | *=*) blkid --probe --output value --match-tag TYPE "$(findfs "$data")" ;;
        *) mountpoint -q "$data" && findmnt --noheadings --output FSTYPE --mountpoint "$data" ;;
    esac 2>/dev/null
}

add() {
    mkdir -p "$data"
    bind "$data"
    stopped=
    for folder; do
        if [ ! -d "$data$folder" ]; then
            [ -n "$stopped" ] || stop
            move "$folder"
        fi
        mkdir -p "$folder"
        bind "$folder"
    done
    # shellcheck disable=SC2086 # names of units
    [ -z "${stopped# }" ] || systemctl start $stopped
}

bind() { # MOUNTPOINT
    mountpoint -q "$1" || {
        systemctl daemon-reload # or mount warns that systemd knows an older /etc/fstab
        mount "$1"
        echo "mounted $1"
    }
}

stop() {
    stopped=" "
    for unit in $units; do
        if systemctl is-active --quiet "$unit"; then
            systemctl stop "$unit"
            stopped="$stopped $unit"
        fi
    done
}

# The copy is complete before it has its name; only then is the original removed.
move() { # FOLDER
    mkdir -p "$1" "$(dirname "$data$1")"
    rm -rf "$data$1.new"
    cp -a "$1" "$data$1.new"
    sync -f "$data$1.new"
    mv -T "$data$1.new" "$data$1"
    sync -f "$data"
    find "$1" -mindepth 1 -delete
}

remove() {
    for folder; do
        if mountpoint -q "$folder"; then
            umount "$folder"
            echo "unmounted $folder"
        fi
        rm -rf "${data:?}$folder"
    done
}

"$verb" "$@"
