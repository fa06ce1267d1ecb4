#!/usr/bin/env bash
# Installs what a Debian machine lacks to run and test Micro, and starts Docker
# where nothing else does. It says what it does, and does nothing twice.
set -euo pipefail

missing=()
need() { # command, package
	command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
need git git
need redis-server redis-server
need dockerd docker.io
need iptables iptables
need nft nftables
need busybox busybox-static
need node nodejs # the tests run JavaScript clients
need npm npm
need chromium chromium # and the console
need promtool prometheus # the tests check the alerts
need systemd-analyze systemd # and the units
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 && id postgres >/dev/null 2>&1 || missing+=(postgresql)
[ -s /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)

sudo=()
if [ "$(id -u)" != 0 ]; then sudo=(sudo); fi

if [ ${#missing[@]} -gt 0 ]; then
	if ! command -v apt-get >/dev/null 2>&1; then
		echo "Micro needs these, by whatever names your system has for them:" >&2
		echo "  PostgreSQL 15 or newer (server), Redis 7 (server), Docker Engine 20.10 or newer, git, a static busybox, Node.js with npm (for the tests), CA certificates" >&2
		echo "Missing here: ${missing[*]}" >&2
		exit 1
	fi
	echo "Installing ${missing[*]}"
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
	# The packages must not start servers of their own: Micro brings its own.
	printf '#!/bin/sh\nexit 101\n' >/tmp/micro-policy && chmod +x /tmp/micro-policy
	[ -e /usr/sbin/policy-rc.d ] || "${sudo[@]}" install /tmp/micro-policy /usr/sbin/policy-rc.d && placed=yes
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/tmp/micro-install.log 2>&1 || {
		cat /tmp/micro-install.log >&2
		exit 1
	}
	[ -z "${placed:-}" ] || "${sudo[@]}" rm -f /usr/sbin/policy-rc.d
fi

if ! command -v go >/dev/null 2>&1; then
	echo "Micro needs Go 1.26 or newer: https://go.dev/doc/install" >&2
	exit 1
fi

docker_up() { docker info >/dev/null 2>&1 || "${sudo[@]}" docker info >/dev/null 2>&1; }

if ! docker_up; then
	if [ -d /run/systemd/system ]; then
		echo "Starting Docker by systemd"
		"${sudo[@]}" systemctl start docker
	else
		echo "Starting Docker (dockerd, log in /tmp/micro-dockerd.log)"
		# A pid file that an ended daemon left would keep a new one from starting.
		if [ -f /var/run/docker.pid ] && ! kill -0 "$(cat /var/run/docker.pid)" 2>/dev/null; then
			"${sudo[@]}" rm -f /var/run/docker.pid
		fi
		"${sudo[@]}" setsid dockerd >/tmp/micro-dockerd.log 2>&1 </dev/null &
	fi
	for _ in $(seq 300); do
		docker_up && break
		sleep 0.1
	done
	docker_up || {
		echo "Docker did not start:" >&2
		tail -5 /tmp/micro-dockerd.log >&2 || true
		exit 1
	}
fi
