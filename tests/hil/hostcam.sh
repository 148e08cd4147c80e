#!/bin/sh
# hostcam.sh SCRIPT.py: run a picamera2 program on this host with the virtual camera alone.
# The folder is $BIN_DAEMON_HIL; its share/virtual.yaml describes the cameras, if it is there.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
home=${BIN_DAEMON_HIL:-$here/../../build/hil}
home=$(cd "$home" && pwd)
opt=$home/inst.libcamera/opt
export LD_LIBRARY_PATH=/opt/libcamera/lib PYTHONPATH=/opt/libcamera/lib/python3/dist-packages
export LIBCAMERA_PIPELINES_MATCH_LIST=virtual LIBCAMERA_LOG_LEVELS="${LIBCAMERA_LOG_LEVELS:-*:ERROR}"
described=$opt/libcamera/share/libcamera/pipeline/virtual
mkdir -p "$described"
[ ! -f "$home/share/virtual.yaml" ] || cp "$home/share/virtual.yaml" "$described/"
# libcamera's prefix is /opt/libcamera: a mount of our own spares the host's /opt.
exec unshare -m sh -c 'mount --bind "$1" /opt && shift && exec "$@"' sh "$opt" \
    "$home/hv/bin/python" -c \
    'import runpy, sys, memfd_heap; sys.argv[:] = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name="__main__")' \
    "$@"
