#!/bin/sh
# Installs, by apt-get and by name, the servers that the tests run against, if they are missing and we may.
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
have dovecot || want="$want dovecot-imapd"
have ctl_cyrusdb || want="$want cyrus-imapd"
have saslpasswd2 || want="$want sasl2-bin"
have initdb || want="$want postgresql"
have node || want="$want nodejs"
have npm || want="$want npm"
[ -n "$want" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $want
else
	echo "missing, tests that need them are skipped:$want (Debian: apt-get install$want)"
fi
