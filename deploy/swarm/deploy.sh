#!/bin/sh
# deploy.sh [FILE…] brings the stack to what stack.env, stack.yaml and each FILE
# beside them that adds to it say: the schemas first, then WAVE services at a time,
# each wave whole before the next begins. docker stack deploy by itself replaces all
# at once, and takes the hosts what those need that are called meanwhile.
# Where a service does not become healthy, Swarm puts it back to what it was, and
# this ends with an error; run again, it goes on with what is left.
set -eu
CDPATH= cd -- "$(dirname "$0")"
set -a
. ./stack.env
set +a
stack=${STACK:-micro}

files='-c stack.yaml'
for file; do files="$files -c $file"; done
# shellcheck disable=SC2086 # options
whole=$(docker stack config $files)

# names prints the services in the order of stack.yaml, and then those that a FILE adds.
names() {
	for file in "$(cat stack.yaml)" "$whole"; do
		printf '%s\n' "$file" | awk '/^[^ #]/ { services = /^services:/ } services && /^  [^ #]/ { sub(/:.*/, "", $1); print $1 }'
	done | awk '!seen[$0]++'
}

# state prints how far Swarm is with the last change of a service: "described" before
# it begins, or with nothing to replace, and nothing of a service that is new.
state() { # service
	docker service inspect --format '{{with .UpdateStatus}}{{.State}}: {{.Message}}{{else}}{{with .PreviousSpec}}described{{end}}{{end}}' "$1"
}

# lacks prints what keeps a service from running as described, or nothing. It fails
# when Swarm has given up.
lacks() { # service, seconds since its wave was described
	now=$(state "$1") || return
	case $now in
	updating:* | rollback_started:*)
		echo "$now"
		return
		;;
	described)
		if [ "$2" -lt 10 ]; then # by then Swarm has begun, if it has anything to replace
			echo "$now"
			return
		fi
		;;
	"" | completed:*) ;;
	*)
		tell "$1" "$now"
		return 1
		;;
	esac
	replicas=$(docker service ls --filter "name=$1" --format '{{.Name}} {{.Replicas}}' | sed -n "s/^$1 //p") # 1/2, 1/2 (max 1 per node), of a job 0/1 (1/1 completed)
	want=${replicas#*/}
	want=${want%% *}
	case $replicas in
	"") echo "it is not there" ;;
	*"($want/$want completed)") ;;
	*completed*) echo "$replicas" ;;
	*) # that counts instances on hosts that are lost
		lost=$(docker node ls --format '{{.Hostname}} {{.Status}}' | awk '$2 != "Ready" { printf "%s ", $1 }') || return
		have=$(docker service ps --filter desired-state=running --format '{{.Node}} {{.CurrentState}}' "$1" |
			awk -v lost=" $lost" '$2 == "Running" && !index(lost, " " $1 " ")' | wc -l)
		if [ "$have" -lt "$want" ] || [ "$have" = 0 ]; then echo "$have of $want"; fi
		;;
	esac
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
			missing=$(lacks "$service" $seconds) || return
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

# settled waits until Swarm is through with what an earlier deploy began: a service
# that is described again meanwhile forgets how far it is. One that is stuck is
# described again after all.
settled() { # names
	seconds=0
	for name; do
		while [ $seconds -lt "${WAVE_TIMEOUT:-600}" ]; do
			case $(state "${stack}_$name" 2>/dev/null || true) in
			updating:* | rollback_started:*) ;;
			*) break ;;
			esac
			sleep 1
			seconds=$((seconds + 1))
		done
	done
}

# deploy deploys these services alone, and waits for them.
deploy() { # names
	echo "deploy.sh: $*"
	settled "$@"
	printf '%s\n' "$whole" | sed 's/\$/$$/g' | # what is in it is not looked up again
		awk -v names=" $* " '
			/^[^ ]/ { services = /^services:/; keep = 1 }
			services && /^  [^ ]/ { keep = index(names, " " substr($1, 1, length($1) - 1) " ") }
			keep' |
		docker stack deploy --detach --with-registry-auth --resolve-image "${RESOLVE_IMAGE:-always}" -c - "$stack"
	await "$@"
}

waves=$(names | grep -vx migrate | xargs -n "${WAVE:-6}")
deploy migrate
while read -r wave; do
	# shellcheck disable=SC2086 # names
	deploy $wave </dev/null
done <<END
$waves
END
echo "deploy.sh: all of it runs"
