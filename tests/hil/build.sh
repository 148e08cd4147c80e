#!/usr/bin/env bash
# Build the virtual Pi in the folder FOLDER: build.sh FOLDER [STAGE...]
#
# Each stage is skipped while its inputs (its lines here, its files, the stages it stands on) are
# the ones it was last built from. README.md says what comes out. Needs root on Debian 12.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
tree=$(cd "$here/../.." && pwd)
mkdir -p "${1:?usage: build.sh FOLDER [STAGE...]}"
home=$(cd "$1" && pwd)
shift
cd "$home"
mkdir -p src stamps logs bin share

# Debian's own mirror, or the one that this machine uses.
mirror=$(awk '/^URIs:|^deb /{print $2; exit}' /etc/apt/sources.list.d/debian.sources \
    /etc/apt/sources.list 2> /dev/null || true)
mirror=${mirror:-http://deb.debian.org/debian}
snapshot=https://snapshot.debian.org/archive/debian/20261115T000000Z

# Sources, as the mirror has them: path in the pool, sha256.
linux_path=pool/main/l/linux/linux-source-6.1_6.1.176-1_all.deb
linux_sha=9305d1a151b8e83dcb88aa11361e7b9513f0c252bdf7f5647e4542762d99c094
libcamera_path=pool/main/libc/libcamera/libcamera_0.7.2.orig.tar.gz
libcamera_sha=e27f5670fe9443eebc8e2f24235cd20b533324ef481a3684d34c78f1c3a12afb
picamera2=0.3.38

tools="mmdebstrap dpkg-dev curl gcc g++ make flex bison bc kmod cpio xz-utils patch meson ninja-build
pkg-config pybind11-dev python3-yaml python3-jinja2 python3-ply python3-venv openssl libyaml-dev
libgnutls28-dev libudev-dev libyuv-dev libjpeg62-turbo-dev libpython3-dev libevent-dev libcap-dev
qemu-user-static e2fsprogs"

deb=$(ls -t "$tree"/dist/bin-daemon_*_all.deb 2> /dev/null | head -1) || true
jobs=$(nproc)

die() {
    echo "build.sh: $*" >&2
    exit 1
}

fetch() { # path in the pool, sha256, file
    local url
    for url in "$mirror/$1" "$snapshot/$1"; do
        if [ "$(sha256sum "$3" 2> /dev/null | cut -d' ' -f1)" = "$2" ]; then
            return
        fi
        curl -fsSL --retry 2 -o "$3" "$url" || true
    done
    echo "$2 $3" | sha256sum -c --quiet || die "$1 is on neither $mirror nor $snapshot"
}

# Commands in a root, with a /proc that goes with them: the network and the settings of pip are those
# of the host.
inside() { # root command...
    local root=$1
    shift
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
        LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive PIP_ROOT_USER_ACTION=ignore \
        PIP_DISABLE_PIP_VERSION_CHECK=1 \
        ${PIP_INDEX_URL:+"PIP_INDEX_URL=$PIP_INDEX_URL"} \
        ${PIP_CERT:+"PIP_CERT=/root/ca.crt"} unshare -m sh -c \
        'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" && exec chroot "$@"' \
        sh "$root" "$@"
}

online() { # root
    cp --remove-destination /etc/resolv.conf "$1/etc/resolv.conf"
    [ -z "${PIP_CERT:-}" ] || cp "$PIP_CERT" "$1/root/ca.crt"
}

debootstrap() { # suite root packages [mmdebstrap's options...]
    local suite=$1 root=$2 packages=$3
    shift 3
    rm -rf "$root"
    mmdebstrap -q --variant=minbase --mode=root --include="${packages// /,}" \
        --aptopt='APT::Install-Recommends "false"' \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
        "$@" "$suite" "$root" "$mirror"
}

build_kernel() {
    local source=$home/src/linux output=$home/src/linux.out
    fetch "$linux_path" "$linux_sha" src/linux.deb
    rm -rf "$source" "$output"
    mkdir -p "$source" "$output"
    dpkg-deb --fsys-tarfile src/linux.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz |
        tar -xJ -C "$source" --strip-components=1
    patch -s -d "$source" -p1 < "$here/kernel.patch"
    make -s -C "$source" ARCH=um O="$output" defconfig
    (cd "$output" &&
        ARCH=um "$source/scripts/kconfig/merge_config.sh" -m .config "$here/kernel.config")
    make -s -C "$source" ARCH=um O="$output" olddefconfig
    make -s -C "$source" ARCH=um O="$output" -j"$jobs" linux
    strip -o bin/linux-um "$output/linux"
    rm -rf "$source" "$output"
}

build_libcamera() {
    local source=$home/src/libcamera
    fetch "$libcamera_path" "$libcamera_sha" src/libcamera.tar.gz
    rm -rf "$source" "$source.out" inst.libcamera
    mkdir -p "$source"
    tar -xzf src/libcamera.tar.gz -C "$source" --strip-components=1
    patch -s -d "$source" -p1 < "$here/libcamera/virtual.patch"
    cp "$here"/libcamera/live_picture.* "$source/src/libcamera/pipeline/virtual/"
    # Debian's tools: its Python is the one that the bindings are for.
    PATH=/usr/bin:/bin meson setup "$source.out" "$source" --prefix=/opt/libcamera --libdir=lib \
        --buildtype=plain -Dwerror=false -Dpipelines=virtual -Dipas= -Dpycamera=enabled \
        -Dcam=disabled -Dqcam=disabled -Dgstreamer=disabled -Dtracing=disabled \
        -Ddocumentation=disabled -Dlc-compliance=disabled -Dv4l2=disabled -Dtest=false \
        -Dlibunwind=disabled -Dlibdw=disabled
    PATH=/usr/bin:/bin ninja -C "$source.out" -j"$jobs"
    DESTDIR=$home/inst.libcamera PATH=/usr/bin:/bin ninja -C "$source.out" install
    rm -rf inst.libcamera/opt/libcamera/include "$source" "$source.out"
    strip inst.libcamera/opt/libcamera/lib/*.so.*.*.*
}

# The host's Python with picamera2, for the camera tests that need no virtual machine; and wheels of
# all that the roots take from PyPI: picamera2 for the system, what the package asks for its own.
build_wheels() {
    rm -rf hv wheels
    python3 -m venv hv
    hv/bin/pip wheel -q --disable-pip-version-check -w wheels "picamera2==$picamera2" lgpio \
        'numpy<2' 'opencv-python-headless<4.12'
    hv/bin/pip install -q --no-index --find-links wheels picamera2 'numpy<2' \
        'opencv-python-headless<4.12'
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C src ./usr/share/bin-daemon/wheels
    hv/bin/pip download -q --disable-pip-version-check --only-binary=:all: -d wheels \
        "$(echo src/usr/share/bin-daemon/wheels/*.whl)[litert,pi]" 'numpy<2'
    rm -rf src/usr wheels/bin_daemon-*
    cp "$here"/host/*.py "$here/guest/pykms.py" hv/lib/python3.11/site-packages/
    chmod -R go+rX wheels
}

build_root() {
    debootstrap bookworm root "systemd-sysv udev dbus kmod procps python3 python3-venv python3-pip \
python3-numpy mosquitto mosquitto-clients gpiod libyaml-0-2 libjpeg62-turbo libyuv0 libevent-2.1-7 \
libevent-pthreads-2.1-7 libglib2.0-0 libgnutls30 ca-certificates"
    passwd -q -R "$home/root" -d root
    echo hil > root/etc/hostname
    echo "127.0.0.1 localhost hil" > root/etc/hosts
    systemctl --root=root -q mask systemd-timesyncd.service apt-daily.timer \
        apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer
    mkdir -p root/wheels
    cp wheels/*.whl root/wheels/
    inside root pip install -q --break-system-packages --no-index --find-links /wheels \
        picamera2 lgpio
    rm -r root/wheels
    cp "$here/guest/pykms.py" root/usr/local/lib/python3.11/dist-packages/
    mkdir -p root/opt root/hil root/srv/chamber
    cp -r inst.libcamera/opt/libcamera root/opt/
    install -D -m 0644 "$here/guest/virtual.yaml" \
        root/opt/libcamera/share/libcamera/pipeline/virtual/virtual.yaml
    install -m 0755 "$here/guest/hil-shell" "$here/guest/hil-devices" root/usr/local/sbin/
    install -m 0644 "$here"/guest/*.service root/etc/systemd/system/
    install -m 0644 "$here/guest/hil.rules" root/etc/udev/rules.d/
    install -D -m 0644 "$here/guest/libcamera.conf" \
        root/etc/systemd/system/bin-daemon.service.d/libcamera.conf
    systemctl --root=root -q enable hil-shell.service hil-devices.service hil-ear.service
}

# The package is installed as an image for many bins would be made: without a network, in a root
# whose systemd does not run.
build_image() {
    rm -rf image root.ext4
    cp -a root image
    mkdir -p image/var/cache/bin-daemon
    cp -r wheels image/var/cache/bin-daemon/wheels
    cp "$deb" image/root/bin-daemon.deb
    install -D -m 0640 "$here/guest/config.yaml" image/etc/bin-daemon/config.yaml
    PIP_CERT='' inside image env PIP_NO_INDEX=1 dpkg -i /root/bin-daemon.deb
    inside image test -x /opt/bin-daemon/bin/bin-daemon
    # Tests start it when the scene is set.
    systemctl --root=image -q disable bin-daemon.service
    mke2fs -q -t ext4 -d image root.ext4 2600M
    rm -rf image
}

# A Pi's Python and the aarch64 wheels of what the package asks for. Nothing is run while building.
build_arm() {
    rm -rf arm arm.wheels
    debootstrap bookworm arm \
        "python3 libstdc++6 libgcc-s1 zlib1g coreutils libffi8 libatomic1" \
        --variant=extract --architectures=arm64
    local platforms=()
    for tag in 2014 _2_17 _2_27 _2_28 _2_31 _2_34; do
        platforms+=(--platform "manylinux${tag}_aarch64")
    done
    dpkg-deb --fsys-tarfile "$deb" | tar -x -C src ./usr/share/bin-daemon/wheels
    hv/bin/pip install -q --disable-pip-version-check --target arm/opt/site "${platforms[@]}" \
        --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
        --only-binary=:all: "$(echo src/usr/share/bin-daemon/wheels/*.whl)[litert]"
    # The tests run the program of the checkout.
    rm -rf src/usr arm/opt/site/bin_daemon*
}

# Raspberry Pi OS Trixie's Debian, with the package as a user with a network installs it.
build_trixie() {
    debootstrap trixie trixie \
        "systemd-sysv udev python3 python3-venv python3-numpy mosquitto openssl ca-certificates git"
    online trixie
    cp "$deb" trixie/root/bin-daemon.deb
    inside trixie dpkg -i /root/bin-daemon.deb
    inside trixie /opt/bin-daemon/bin/python -m pip install -q pytest pytest-cov hypothesis
}

stage() { # name, stages it stands on, further inputs
    local name=$1 inputs before=$SECONDS
    inputs=$({
        declare -f "build_$name" fetch inside online debootstrap
        echo "$linux_sha $libcamera_sha $picamera2"
        for other in $2; do cat "stamps/$other"; done
        shift 2
        for other in "$@"; do
            echo "${other##*/}"
            cat "$other"
        done
    } | sha256sum)
    if [ "$(cat "stamps/$name" 2> /dev/null)" = "$inputs" ]; then
        return
    fi
    rm -f "stamps/$name"
    echo "build.sh: $name ($home/logs/$name.log)"
    # Not in a condition: set -e would not hold inside.
    (set -x && "build_$name") > "logs/$name.log" 2>&1 &
    wait $! || {
        tail -20 "logs/$name.log" >&2
        die "the stage $name failed"
    }
    echo "$inputs" > "stamps/$name"
    echo "build.sh: $name took $((SECONDS - before)) s"
}

[ "$(id -u)" = 0 ] || die "needs root: it makes root file systems"
. /etc/os-release
[ "$ID $VERSION_ID" = "debian 12" ] || die "needs Debian 12: libcamera is built for its Python 3.11"
[ -n "$deb" ] || die "there is no package in $tree/dist; run 'make deb' first"
missing=$(for tool in $tools; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$tool" 2> /dev/null | grep -q '^ii' || echo "$tool"
done)
if [ -n "$missing" ]; then
    apt-get update -q
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
fi

wanted=${*:-kernel libcamera wheels root image arm trixie}
for name in $wanted; do
    case $name in
        kernel) stage kernel "" "$here"/kernel.* ;;
        libcamera) stage libcamera "" "$here"/libcamera/* ;;
        wheels) stage wheels "" "$tree/setup.cfg" "$here"/host/*.py "$here/guest/pykms.py" ;;
        root) stage root "libcamera wheels" "$here"/guest/hil* "$here/guest/pykms.py" \
            "$here/guest/virtual.yaml" "$here/guest/libcamera.conf" ;;
        image) stage image "wheels root" "$deb" "$here/guest/config.yaml" ;;
        arm) stage arm "wheels" ;;
        trixie) stage trixie "" "$deb" ;;
        *) die "there is no stage $name" ;;
    esac
done
