#!/bin/sh
# Installs, by apt-get and by name, the servers that the tests run against, if they are missing and we may.
# Otherwise prints in one line what will be skipped; under CI=true a test without its server fails.
set -eu

have() {
	command -v "$1" >/dev/null 2>&1 || ls /usr/sbin/"$1" /usr/lib/postgresql/*/bin/"$1" >/dev/null 2>&1
}

want=
have dovecot || want="$want dovecot-imapd"
have initdb || want="$want postgresql"
[ -n "$want" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get update -qq
	# shellcheck disable=SC2086
	apt-get install -y -qq --no-install-recommends $want
else
	echo "missing, tests that need them are skipped:$want (Debian: apt-get install$want)"
fi
