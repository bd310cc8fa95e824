#!/bin/sh
# The first process of a machine: sh machine.sh CGROUP, in namespaces of its own for mounts and process ids.
# CGROUP is the directory of the machine in each hierarchy below /run/testbed/cgroup. Says `machine PID` when it is up.
set -eu

# Still seen through the outer /proc: its own process id there.
read -r pid _ < /proc/self/stat
for hierarchy in /run/testbed/cgroup/*; do
    mkdir "$hierarchy/$1"
    # A new cpuset is empty, and takes no process.
    for what in cpuset.cpus cpuset.mems; do
        [ ! -e "$hierarchy/$1/$what" ] || cat "$hierarchy/$what" > "$hierarchy/$1/$what"
    done
    echo 0 > "$hierarchy/$1/cgroup.procs"
done
# shellcheck disable=SC2016  # for the shell that is executed
exec unshare --cgroup sh -eu -c '
    mount -t proc proc /proc
    for hierarchy in /run/testbed/cgroup/*; do
        name=${hierarchy##*/}
        mkdir -p "/run/testbed/machine/$name"
        case $name in
            unified) mount -t cgroup2 cgroup "/run/testbed/machine/$name" ;;
            systemd) mount -t cgroup -o none,name=systemd cgroup "/run/testbed/machine/$name" ;;
            *) mount -t cgroup -o "$name" cgroup "/run/testbed/machine/$name" ;;
        esac
    done
    if [ -e /run/testbed/machine/memory ]; then
        mount --rbind /run/testbed/machine /sys/fs/cgroup
    else
        # One hierarchy alone: a group with processes has no controllers for groups below it.
        mkdir /run/testbed/machine/unified/init
        echo 1 > /run/testbed/machine/unified/init/cgroup.procs
        mount --bind /run/testbed/machine/unified /sys/fs/cgroup
    fi
    mount -t tmpfs tmpfs /dev/shm
    echo "machine $1"
    # What loses its parent is ours, and ours to wait for.
    while :; do sleep 3600 & wait; done
' sh "$pid"
