#!/bin/sh
# Becomes systemd, as process 1 of its own namespaces, over a throw-away overlay of this machine's root. Started by
# machine.py through unshare; everything that is mounted here ends with it.
#
#   WORK    an empty folder, for the layers
#   MAKE    a program that fits the new root out before it becomes the root; called with its path
set -eu
R="$WORK/root"
mount -t tmpfs -o size=2g,mode=755 tmpfs "$WORK"
mkdir "$WORK/upper" "$WORK/work" "$R"
mount -t overlay overlay -o "lowerdir=/,upperdir=$WORK/upper,workdir=$WORK/work" "$R"
mount -t proc proc "$R/proc"
mount -t sysfs sysfs "$R/sys"
mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
mount --bind "$R/proc/sys" "$R/proc/sys"
mount -o remount,bind,ro "$R/proc/sys"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
mount -t tmpfs -o mode=1777 tmpfs "$R/tmp"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for d in null zero full random urandom tty; do
    touch "$R/dev/$d"
    mount --bind "/dev/$d" "$R/dev/$d"
done
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$R/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$R/dev/shm"
ln -s pts/ptmx "$R/dev/ptmx"
ln -s /proc/self/fd "$R/dev/fd"
touch "$R/dev/console"
"$MAKE" "$R"
cd "$R"
mkdir oldroot
pivot_root . oldroot
cd /
umount -l /oldroot
rmdir /oldroot
mount --make-rshared /
for init in /usr/lib/systemd/systemd /lib/systemd/systemd; do
    if [ -x "$init" ]; then
        exec env -i container=tests PATH=/usr/sbin:/usr/bin:/sbin:/bin "$init" --system --unit=tests.target
    fi
done
echo "no systemd here" >&2
exit 1
