#!/bin/sh
# Make a bin of a 64-bit Raspberry Pi OS or Debian, 12 (Bookworm) or newer; or take it away again.
#
# Safe to run again: what is right already stays as it is, and a configuration that exists is never
# touched. Boot settings are shown as a diff and asked for before they are applied.
set -eu

usage() {
    cat <<'END'
Usage: install.sh [option...] [PACKAGE.deb]

Without PACKAGE.deb, a checkout builds it, and an installed package is kept.

  --profile NAME   flap, rotary_trapdoor or four_stream; asked for where no configuration exists
  --id ID          name of the bin: letters, digits, - and _ (default: the host name)
  --yes            ask nothing: apply the boot settings, too
  --no-boot        leave the boot settings alone
  --dry-run        only say what would be done
  --root DIR       with --dry-run: for the system whose files are under DIR
  --uninstall      take the program and the boot settings away; configuration and events stay
  --purge          with --uninstall: configuration, events and user as well
END
}

wanted="python3-venv python3-numpy python3-picamera2 python3-lgpio python3-smbus2 i2c-tools"
begin='# bin-daemon: begin (install.sh writes this block and takes it away)'
end='# bin-daemon: end'
unit=bin-daemon.service
venv=/opt/bin-daemon
examples=/usr/share/doc/bin-daemon/examples

say() { echo "install.sh: $*"; }
fail() { say "$*" >&2; exit 1; }

# Everything that changes the system goes through here.
run() {
    changed=yes
    if [ "$dry" ]; then echo "would run: $*"; else "$@"; fi
}

ask() {
    [ ! "$dry" ] && [ ! "$yes" ] || return 0
    [ -t 0 ] || { say "nobody to ask; --yes applies it"; return 1; }
    printf '%s [y/N] ' "$1"
    read -r answer
    case $answer in y | Y | yes) return 0 ;; *) return 1 ;; esac
}

installed() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

check_system() {
    case $(dpkg --print-architecture) in
        arm64 | amd64) ;;
        *) fail "a 64-bit system is needed: the network's runtime has no 32-bit version" ;;
    esac
    # shellcheck source=/dev/null
    version=$(. "$root/etc/os-release" && echo "${VERSION_ID:-0}")
    [ "${version%%.*}" -ge 12 ] 2> /dev/null || fail "Debian 12 or newer is needed, this is $version"
    model=$(tr -d '\0' 2> /dev/null < "$root/proc/device-tree/model" || true)
    say "Debian $version on ${model:-an unknown board}"
}

apt_packages() {
    if [ "$root" ]; then echo "would install what is missing of: $wanted"; changed=yes; return; fi
    missing=
    for package in $wanted; do installed "$package" || missing="$missing $package"; done
    [ "$missing" ] || return 0
    [ "$dry" ] || apt-get update -qq || say "no fresh package lists; going on with the old ones"
    # shellcheck disable=SC2086 # a list
    known=$(LC_ALL=C apt-cache policy $missing |
        awk '/^[^ ]/ { sub(/:$/, ""); name = $0 } /Candidate: [0-9]/ { print name }')
    for package in $missing; do
        echo "$known" | grep -qxF "$package" ||
            say "skipped $package: apt does not know it here (Raspberry Pi OS has it)"
    done
    # shellcheck disable=SC2086 # a list
    [ ! "$known" ] || run env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends $known
}

program() {
    if [ ! "$deb" ] && [ -f "$here/../setup.cfg" ]; then
        if [ "$dry" ]; then echo "would run: $here/debian/build"; changed=yes; return; fi
        say "building the package"
        # Not into the checkout: what root leaves there, its owner cannot write over.
        deb=$("$here/debian/build" "$work")
    fi
    if [ ! "$deb" ]; then
        installed bin-daemon || fail "name the package: install.sh bin-daemon_..._all.deb"
    elif installed bin-daemon && dpkg-deb -I "$deb" md5sums |
        cmp -s - /var/lib/dpkg/info/bin-daemon.md5sums; then
        say "this package is installed already"
    else
        run env DEBIAN_FRONTEND=noninteractive BIN_DAEMON_INSTALLER=yes \
            apt-get install -q -y --no-install-recommends \
            --reinstall --allow-downgrades "$(realpath "$deb")"
    fi
}

choose_profile() {
    while [ ! "$profile" ]; do
        if [ "$yes" ] || [ ! -t 0 ]; then fail "no configuration yet: give --profile NAME"; fi
        printf 'Profile (flap: one servo; rotary_trapdoor: two; four_stream: three): '
        read -r profile
        [ -f "$profiles/$profile.yaml" ] || { say "no profile '$profile'"; profile=; }
    done
    [ -f "$profiles/$profile.yaml" ] || fail "no profile '$profile' in $profiles"
}

configuration() {
    settings=$root/etc/bin-daemon/config.yaml
    if [ -f "$settings" ]; then
        say "$settings stays as it is"
        return
    fi
    choose_profile
    : "${id:=$(hostname | tr -c 'a-zA-Z0-9_\n' '-')}"
    case $id in '' | *[!a-zA-Z0-9_-]*) fail "--id takes letters, digits, - and _, not '$id'" ;; esac
    say "$settings: profile $profile, bin '$id'"
    written=$work/config.yaml
    old=$(sed -n 's/^  id: \([^ ]*\).*/\1/p' "$profiles/$profile.yaml")
    sed -e "s/^\(  id\|  username\): $old\b/\1: $id/" \
        -e "1s|=bin-daemon.schema.json|=$examples/bin-daemon.schema.json|" \
        "$profiles/$profile.yaml" > "$written"
    run install -m 0640 -g bin-daemon "$written" "$settings"
    [ ! "$dry" ] || settings=$written
}

# The value of a key of the chute or the camera, from the configuration: `pins auto`, `kind replay`.
setting() { sed -n "s/^  $1: *\([a-z0-9]*\).*/\1/p" "$settings" | head -n 1; }

# The GPIO number of each servo, one a line.
servo_pins() {
    awk '{ indent = match($0, /[^ ]/) - 1 }
         /^ *(#|$)/ { next }
         inside && indent <= depth { inside = 0 }
         /^ +servos:/ { inside = 1; depth = indent }
         inside { while (match($0, /pin: *[0-9]+/)) {
             pin = substr($0, RSTART, RLENGTH); $0 = substr($0, RSTART + RLENGTH)
             sub(/pin: */, "", pin); print pin } }' "$settings"
}

alt() { case $1 in 12 | 13) echo 4 ;; *) echo 2 ;; esac; } # the overlay's numbers of ALT0, ALT5

# The overlay line for the servos on pins that have a PWM channel: 12 and 18 share one, 13 and 19
# the other, but for the Pi 5, where each pin has its own.
overlay() {
    zero='' one='' more=''
    for pin in $(servo_pins); do
        case $pin in
            12 | 18) [ ! "$zero" ] || more=yes; zero=${zero:-$pin} ;;
            13 | 19) [ ! "$one" ] || more=yes; one=${one:-$pin} ;;
        esac
    done
    case $more$model in
        yes*"Raspberry Pi 5"* | yes*"Compute Module 5"*) echo "dtoverlay=bin-daemon-pwm" ;;
        *)
            if [ "$zero" ] && [ "$one" ]; then
                echo "dtoverlay=pwm-2chan,pin=$zero,func=$(alt "$zero"),pin2=$one,func2=$(alt "$one")"
            elif [ "$zero$one" ]; then
                echo "dtoverlay=pwm,pin=$zero$one,func=$(alt "$zero$one")"
            fi
            ;;
    esac
}

fragment() {
    echo "$begin"
    echo '[all]'
    cat "$boot/watchdog.txt"
    [ "$(setting kind)" != picamera2 ] || cat "$boot/picamera2.txt"
    case $(setting pins) in
        pca9685) cat "$boot/pca9685.txt" ;;
        auto | pwm) [ ! "$line" ] || sed "s/@OVERLAY@/$line/" "$boot/pwm.txt" ;;
    esac
    echo "$end"
}

# config.txt without our block, on standard output.
without_block() {
    [ "$(grep -cxF "$begin" "$config_txt")" = "$(grep -cxF "$end" "$config_txt")" ] ||
        fail "$config_txt: the lines '$begin' and '$end' do not pair; mend them by hand"
    awk -v begin="$begin" -v end="$end" \
        '$0 == begin { inside = 1 } !inside { print } $0 == end { inside = 0 }' "$config_txt"
}

# Show what the new file changes in config.txt, and ask; nothing to change counts as a yes.
agreed() {
    ! cmp -s "$work/config.txt" "$config_txt" || return 0
    say "boot settings:"
    diff -u --label "$config_txt" --label "$config_txt (new)" "$config_txt" "$work/config.txt" ||
        true
    ask "Apply them?"
}

# Put the new file in place of the old one at once.
put_config_txt() {
    ! cmp -s "$work/config.txt" "$config_txt" || return 0
    run cp "$work/config.txt" "$config_txt.new"
    run mv "$config_txt.new" "$config_txt"
    run sync
    run touch "$root/run/reboot-required"
    restart=yes
}

boot() {
    if [ ! "$config_txt" ]; then
        say "no config.txt here: not a Raspberry Pi, so there are no boot settings to make"
        return
    fi
    case $(setting pins) in auto | pwm) line=$(overlay) ;; *) line= ;; esac
    without_block > "$work/config.txt"
    others=$(grep -E '^dtoverlay=pwm' "$work/config.txt" || true)
    [ ! "$others" ] || say "note: $config_txt has a PWM overlay of its own, '$others': take it out" \
        "if it is for these servos"
    fragment >> "$work/config.txt"
    agreed || { say "boot settings left as they are"; return; }
    # config.txt last: it names the overlay.
    [ "$line" != "dtoverlay=bin-daemon-pwm" ] || pwm_overlay
    [ "$(setting pins)" != pca9685 ] || i2c_device
    put_config_txt
    [ "$restart" ] || say "the boot settings in $config_txt are right already"
}

pwm_overlay() {
    installed device-tree-compiler ||
        run apt-get install -q -y --no-install-recommends device-tree-compiler
    dtbo=$(dirname "$config_txt")/overlays/bin-daemon-pwm.dtbo
    pins=$(servo_pins | grep -xE '12|13|18|19' | paste -s -d ' ' -)
    functions=$(for pin in $pins; do alt "$pin"; done | paste -s -d ' ' -)
    sed "s/@PINS@/$pins/; s/@FUNCTIONS@/$functions/" "$boot/bin-daemon-pwm.dts" > "$work/pwm.dts"
    if [ "$dry" ]; then
        echo "would compile into $dtbo:"
        cat "$work/pwm.dts"
        return
    fi
    dtc -q -@ -I dts -O dtb -o "$work/pwm.dtbo" "$work/pwm.dts"
    cmp -s "$work/pwm.dtbo" "$dtbo" || run cp "$work/pwm.dtbo" "$dtbo"
}

# Without this module there is no /dev/i2c-1.
i2c_device() {
    [ -f "$modules" ] && return
    echo i2c-dev > "$work/modules"
    run install -m 0644 "$work/modules" "$modules"
    run touch "$root/run/reboot-required"
    restart=yes
}

service() {
    systemctl is-enabled -q "$unit" 2> /dev/null || run systemctl enable -q "$unit" ||
        say "it is not enabled; on the Pi: systemctl enable $unit"
    [ -d /run/systemd/system ] || { say "systemd does not run here; the next boot starts it"; return; }
    systemctl is-active -q "$unit" || run systemctl start "$unit" ||
        say "it did not start: journalctl -u $unit"
}

doctor() {
    [ ! "$dry" ] || { echo "would run: bin-daemon doctor"; return; }
    bin-daemon doctor || say "doctor found something, above; the installation itself is complete"
}

install_all() {
    check_system
    apt_packages
    program
    configuration
    [ "$no_boot" ] || boot
    service
    doctor
    [ ! -e "$root/run/reboot-required" ] || say "reboot now: sudo reboot"
    [ "$changed" ] || say "nothing was changed: all was as it should be"
}

# Before the package goes, and this script with it: what is left is then for the owner's hands.
boot_back() {
    dtbo=
    if [ "$config_txt" ]; then
        dtbo=$(dirname "$config_txt")/overlays/bin-daemon-pwm.dtbo
        without_block > "$work/config.txt"
        if [ "$no_boot" ] || ! agreed; then
            boot_left
            return
        fi
        put_config_txt
    fi
    for file in "$dtbo" "$modules"; do
        [ ! -e "$file" ] || run rm "$file"
    done
}

boot_left() {
    if ! cmp -s "$work/config.txt" "$config_txt"; then
        say "boot settings left as they are. To take them away, delete these lines of $config_txt:"
        awk -v begin="$begin" -v end="$end" \
            '$0 == begin { inside = 1 } inside { print } $0 == end { inside = 0 }' "$config_txt"
    fi
    for file in "$dtbo" "$modules"; do
        [ ! -e "$file" ] || say "and delete this file: $file"
    done
}

uninstall() {
    boot_back
    if installed bin-daemon || [ -f /var/lib/dpkg/info/bin-daemon.postrm ]; then
        run env DEBIAN_FRONTEND=noninteractive apt-get "${purge:-remove}" -q -y bin-daemon
    fi
    stay=
    for package in $wanted device-tree-compiler; do
        ! installed "$package" || stay="$stay $package"
    done
    [ ! "$stay" ] || say "these packages stay, for other programs may use them:$stay"
    [ ! "$restart" ] || say "restart the Pi, for the boot settings are gone: sudo reboot"
    [ "$changed" ] || say "nothing was changed: there was nothing to take away"
}

main() {
    here=$(dirname "$(realpath "$0")")
    root='' profile='' id='' yes='' no_boot='' dry='' purge='' deb='' changed='' restart=''
    action=install_all
    while [ $# -gt 0 ]; do
        case $1 in
            --profile | --id | --root)
                [ $# -gt 1 ] || fail "$1 needs a value"
                case $1 in --profile) profile=$2 ;; --id) id=$2 ;; --root) root=$2 ;; esac
                shift
                ;;
            --yes) yes=yes ;;
            --no-boot) no_boot=yes ;;
            --dry-run) dry=yes ;;
            --uninstall) action=uninstall ;;
            --purge) purge=purge ;;
            -h | --help) usage; exit ;;
            -*) usage >&2; exit 2 ;;
            *) deb=$1 ;;
        esac
        shift
    done
    [ "$dry" ] || [ ! "$root" ] || fail "--root goes with --dry-run"
    [ "$action" = uninstall ] || [ ! "$purge" ] || fail "--purge goes with --uninstall"
    [ ! "$deb" ] || [ -f "$deb" ] || fail "no such package: $deb"
    [ "$dry" ] || [ "$(id -u)" = 0 ] || fail "run it with sudo"
    profiles=$here
    [ -f "$profiles/flap.yaml" ] || profiles=$venv/share/bin-daemon/firmware_config
    boot=$here/boot
    [ -d "$boot" ] || boot=/usr/share/bin-daemon/boot
    modules=$root/etc/modules-load.d/bin-daemon-i2c.conf
    config_txt=
    for file in "$root/boot/firmware/config.txt" "$root/boot/config.txt"; do
        [ ! -f "$file" ] || { config_txt=$file; break; }
    done
    work=$(mktemp -d)
    chmod 0755 "$work" # apt reads the package as a user of its own
    trap 'rm -rf "$work"' EXIT
    "$action"
}

main "$@"
