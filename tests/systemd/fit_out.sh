#!/bin/sh
# Fits a root out for machine.py: quiet units of the machine, and the program where operators install it.
#
#   $1          the root
#   BASE        the Python installation that the tests run with
#   SITE        its site-packages, or the virtual environment's
#   PACKAGE     the folder miner, and CONFIG the folder config
#   VERSION     of Python, as in 3.11
set -eu
R="$1"
S="$R/etc/systemd/system"
rm -rf "$S"/*.wants "$S"/*.requires "$S"/miner*
for unit in getty.target systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket \
    systemd-udevd-kernel.socket systemd-logind.service systemd-networkd.service systemd-networkd.socket \
    systemd-network-generator.service systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service \
    proc-sys-fs-binfmt_misc.automount systemd-firstboot.service systemd-machine-id-commit.service \
    systemd-remount-fs.service systemd-update-utmp.service systemd-random-seed.service \
    systemd-hwdb-update.service systemd-pcrphase.service systemd-timesyncd.service; do
    ln -sf /dev/null "$S/$unit"
done
printf '[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n' > "$S/tests.target"
tr -d - < /proc/sys/kernel/random/uuid > "$R/etc/machine-id"
: > "$R/etc/fstab"
rm -rf "$R/etc/splat-miner" "$R/opt/splat-miner" "$R/var/lib/private" "$R/var/cache/private"

OPT="$R/opt/splat-miner"
LIB="$OPT/venv/lib/python$VERSION/site-packages"
mkdir -p "$OPT/python" "$OPT/venv/bin" "$LIB" "$WORK/site" "$WORK/site-work" "$R/etc/splat-miner"
mount --bind "$BASE" "$OPT/python"
if ls "$OPT"/python/lib/libpython*.so* > /dev/null 2>&1; then # its own path to it does not lead there from here
    echo /opt/splat-miner/python/lib > "$R/etc/ld.so.conf.d/000-tests.conf"
    ldconfig -r "$R"
fi
mount -t overlay overlay -o "lowerdir=$SITE,upperdir=$WORK/site,workdir=$WORK/site-work" "$LIB"
rm -f "$LIB"/_editable_impl_splat_miner.pth
rm -rf "$LIB/miner"
cp -a "$PACKAGE" "$LIB/miner"
cp -a "$CONFIG" "$LIB/miner/config"
chmod -R a+rX "$LIB/miner"
ln -s "../../python/bin/python$VERSION" "$OPT/venv/bin/python"
printf 'home = /opt/splat-miner/python/bin\ninclude-system-site-packages = false\n' > "$OPT/venv/pyvenv.cfg"
cat > "$OPT/venv/bin/miner" <<'PROGRAM'
#!/opt/splat-miner/venv/bin/python
import sys
from miner.cli import main
sys.exit(main())
PROGRAM
chmod 755 "$OPT/venv/bin/miner"
