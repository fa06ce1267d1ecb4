#!/bin/sh
# deploy.sh [FILE…] brings the stack to what stack.env, stack.yaml and each FILE
# beside them that adds to it say: the schemas first, then WAVE services at a time,
# each wave whole before the next begins. docker stack deploy by itself replaces all
# at once, and takes the hosts what those need that are called meanwhile.
# Where a service does not become healthy, Swarm puts it back to what it was, and
# this ends with an error; run again, it goes on with what is left.
set -eu
cd "$(dirname "$0")"
set -a
. ./stack.env
set +a
stack=${STACK:-micro}

files='-c stack.yaml'
for file; do files="$files -c $file"; done
# shellcheck disable=SC2086 # options
whole=$(docker stack config $files)

# names prints the services in the order of stack.yaml, and those that a FILE adds.
names() {
	awk 'FNR == 1 { services = 0 } /^[^ #]/ { services = /^services:/ } services && /^  [^ #]/ { print $1 }' stack.yaml "$@" |
		tr -d : | awk '!seen[$0]++'
}

# lacks prints what keeps a service from running as described, or nothing. It fails
# when Swarm has given up.
lacks() { # service, seconds since its wave began
	update=$(docker service inspect --format '{{with .UpdateStatus}}{{.State}}: {{.Message}}{{else}}{{with .PreviousSpec}}described{{end}}{{end}}' "$1")
	case $update in
	updating:* | rollback_started:*)
		echo "$update"
		return
		;;
	described)
		if [ "$2" -lt 10 ]; then # by then Swarm has begun, if it has anything to replace
			echo "$update"
			return
		fi
		;;
	"" | completed:*) ;;
	*)
		tell "$1" "$update"
		return 1
		;;
	esac
	docker service ls --filter "name=$1" --format '{{.Name}} {{.Replicas}}' | # 1/2, 1/2 (max 1 per node), of a job 0/1 (1/1 completed)
		awk -v name="$1" '
			$1 == name { there = 1; split(/completed/ ? substr($3, 2) : $2, n, "/"); if (n[1] != n[2]) print n[1] " of " n[2] }
			END { exit !there }'
}

# tell says why a service does not run.
tell() { # service, why
	echo "deploy.sh: $1 does not run as described: $2" >&2
	docker service ps --no-trunc --format '{{.Name}} on {{.Node}}: {{.CurrentState}} {{.Error}}' "$1" >&2
}

# await waits until services run as described.
await() { # names
	seconds=0
	for name; do
		service=${stack}_$name
		before=
		while :; do
			missing=$(lacks "$service" $seconds)
			if [ -z "$missing" ]; then break; fi
			if [ "$missing" != "$before" ]; then echo "$service: $missing"; fi
			if [ $seconds -ge "${WAVE_TIMEOUT:-600}" ]; then
				tell "$service" "$missing after $seconds seconds"
				return 1
			fi
			before=$missing
			sleep 1
			seconds=$((seconds + 1))
		done
		echo "$service: runs"
	done
}

# deploy deploys these services alone, and waits for them.
deploy() { # names
	echo "deploy.sh: $*"
	printf '%s\n' "$whole" | sed 's/\$/$$/g' | # what is in it is not looked up again
		awk -v names=" $* " '
			/^[^ ]/ { services = /^services:/; keep = 1 }
			services && /^  [^ ]/ { keep = index(names, " " substr($1, 1, length($1) - 1) " ") }
			keep' |
		docker stack deploy --detach --with-registry-auth --resolve-image "${RESOLVE_IMAGE:-always}" -c - "$stack"
	await "$@"
}

deploy migrate
names "$@" | grep -vx migrate | xargs -n "${WAVE:-6}" | while read -r wave; do
	# shellcheck disable=SC2086 # names
	deploy $wave </dev/null
done
