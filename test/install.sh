#!/bin/sh
# Installs, by apt-get and by name, the servers and the browser that the tests run against, if they are missing and we may.
# Otherwise prints in one line what will be skipped; under CI=true a test without its server fails.
set -eu

have() {
	command -v "$1" >/dev/null 2>&1 && return
	for at in /usr/sbin /usr/lib/cyrus/bin /usr/lib/postgresql/*/bin; do
		[ ! -x "$at/$1" ] || return 0
	done
	return 1
}

want=
have dovecot && { [ -x /usr/lib/dovecot/imap ] || [ -x /usr/libexec/dovecot/imap ]; } || want="$want dovecot-imapd"
have ctl_cyrusdb || want="$want cyrus-common"
have saslpasswd2 || want="$want sasl2-bin"
have initdb || want="$want postgresql"
have node || want="$want nodejs"
have npm || want="$want npm"
have curl || want="$want curl"
have chromium || want="$want chromium"
[ "${1-}" != bench ] || have mbsync || want="$want isync" # what make bench compares with
# The packages dovecot-imapd and cyrus-imapd exclude each other, as both want to be the IMAP server of the machine. Ours run
# privately, so of the second one only the programs are taken.
cyrus=/usr/lib/cyrus/bin
{ [ -x $cyrus/imapd ] && [ -x $cyrus/idled ]; } || want="$want cyrus-imapd"
[ -n "$want" ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
	echo "missing, tests that need them are skipped:$want (as root, make test installs them)"
	exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
install=
for p in $want; do
	[ "$p" = cyrus-imapd ] || install="$install $p"
done
# shellcheck disable=SC2086
[ -z "$install" ] || apt-get install -y -qq --no-install-recommends $install
case "$want " in *" cyrus-imapd "*)
	dir=$(mktemp -d)
	chmod 755 "$dir"
	(cd "$dir" && apt-get download -qq cyrus-imapd && dpkg -x cyrus-imapd_*.deb . && cp -p usr/lib/cyrus/bin/* $cyrus/)
	rm -rf "$dir"
	;;
esac
