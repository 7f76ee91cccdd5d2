#!/bin/sh
# Puts together what the image holds: root.sh BINARY DIRECTORY. As root, files belong to whom they should.
set -eu

binary=$1
root=$2
user=65532

mkdir -p "$root"
install -D -m 755 "$binary" "$root/usr/bin/dacapo"

# The C library, and whatever else the binary is linked with, each in the place where the loader looks for it.
ldd "$binary" | sed -n 's|^[^/]*\(/[^ ]*\) (0x[0-9a-f]*)$|\1|p' | while read -r library; do
    install -D -m 755 "$library" "$root$library"
done

# Names are looked up by the C library itself, as these say. Hosts and name servers are what the runtime puts there.
mkdir -p "$root/etc"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
printf 'root:x:0:0:root:/:/sbin/nologin\ndacapo:x:%s:%s:dacapo:/var/cache/dacapo:/sbin/nologin\n' $user $user >"$root/etc/passwd"
printf 'root:x:0:\ndacapo:x:%s:\n' $user >"$root/etc/group"

install -d -m 1777 "$root/tmp"
install -d -m 700 "$root/var/cache/dacapo"
[ "$(id -u)" != 0 ] || chown $user:$user "$root/var/cache/dacapo"

# Who wrote what is in here, and on which terms.
for licence in LICENSE-MIT LICENSE-APACHE; do
    install -D -m 644 "$licence" "$root/usr/share/doc/dacapo/$licence"
done
for package in libc6 libgcc-s1 gcc-12-base; do
    copyright=/usr/share/doc/$package/copyright
    [ ! -e "$copyright" ] || install -D -m 644 "$copyright" "$root$copyright"
done
